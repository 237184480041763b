"""Write tinyae/digits.npz, the images that the package carries, from the original table.

    TINYAE_DATA=folder python tests/make_digits.py       # folder/digits/digits.csv.gz -> tinyae/digits.npz

The table is the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0): 64 pixels of 0..16, then the label. Written without
dates, so that a second run gives the same bytes (with the same zlib); ``tests/test_data.py`` knows the arrays by
their sha256.
"""

import os
import sys
import zipfile

import numpy as np

TARGET = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tinyae", "digits.npz")


def make(source, target=TARGET):
    table = np.loadtxt(source, delimiter=",", dtype=np.uint8)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in (("images", table[:, :64].reshape(-1, 8, 8)), ("labels", table[:, 64])):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # the byte that would say on which platform it was written
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    if "TINYAE_DATA" not in os.environ:
        sys.exit("make_digits: TINYAE_DATA is not set. Set it to the folder that holds digits/digits.csv.gz.")
    make(os.path.join(os.environ["TINYAE_DATA"], "digits", "digits.csv.gz"))
    print(TARGET, os.path.getsize(TARGET), "bytes")
