"""What is often printed about autoencoders and is not so: each with the right form, and the test that shows it.

`tinyae show errata` and the README's table are made of `ERRATA`; the tests are those of ``tests/test_errata.py``.

Ring 7. Must not know models: it is a table.
"""

from typing import NamedTuple

__all__ = ["ERRATA", "Erratum"]


class Erratum(NamedTuple):
    """One error: what is said, the right form, and the name of the test that shows it."""

    said: str
    right: str
    test: str


ERRATA = (
    Erratum("KL(N(mu, s^2) to N(0, 1)) = 1/2 (mu^2 + s^2 - ln s^2 + 1)",
            "1/2 (mu^2 + s^2 - ln s^2 - 1): 0 where both are the same; with +1 it is 1 there, for every component",
            "test_kl_has_a_minus_one"),
    Erratum("p(x | z), the decoder, is the posterior",
            "p(x | z) is the likelihood; the posterior is p(z | x), which the encoder's q(z | x) stands for: only that "
            "sums to 1 over z",
            "test_the_posterior_is_of_the_code"),
    Erratum("cross-entropy = sum of p log q",
            "minus that sum: at least 0 and least where q = p; without the minus, descent makes q as wrong as can be",
            "test_cross_entropy_has_a_minus"),
    Erratum("there are 200 * 200 * 256^3 colour images of 200 by 200",
            "(256^3)^(200 * 200), a number of 288,989 digits: every pixel is chosen anew",
            "test_the_count_of_images_is_a_power"),
    Erratum("with an L1 penalty a large chunk of the code is zero",
            "small, not zero: only units that can be exactly 0 (relu) are, and many of those for every row; count them",
            "test_small_codes_are_not_zeros"),
    Erratum("an L1 penalty on activities makes the weights sparse",
            "it makes the codes sparse; the weights stay dense, every one of them",
            "test_codes_are_sparse_and_weights_are_not"),
    Erratum("the Jacobian's penalty is norm^2 // batch size",
            "norm^2 / batch size: // rounds down, so small norms cost 0 and no norm has a slope",
            "test_a_jacobian_is_divided_by_a_slash"),
    Erratum("a softmax over the pixels, then binary cross-entropy",
            "a sigmoid for every pixel: softmax's sum to 1, so an image of k white pixels gets 1 / k for each",
            "test_pixels_have_a_sigmoid_each"),
    Erratum("the encoder's second output, a log-variance, is drawn with as exp(output)",
            "sigma = exp(log-variance / 2); exp(output) is for an output called log-sigma, whose KL has exp(2 output)",
            "test_sigma_is_the_root_of_the_variance"),
    Erratum("new images are decoded from codes of standard deviation .1",
            "from N(0, 1), which the KL term asks of the codes; at .1 nearly the mean image comes out every time",
            "test_samples_are_of_the_prior"),
    Erratum("reconstruction and KL are both averaged over all that they have, then added",
            "both are summed within a row: averages over D features and d components weigh KL D / d times as much",
            "test_averages_weigh_kl_anew"),
    Erratum("activity_regularizer=l1(a) is one penalty",
            "a mean over the rows of a batch, or a sum, by version: a sum is batch size times as much",
            "test_a_sum_over_the_batch_is_batch_size_times_its_mean"),
    Erratum("Hinton and Salakhutdinov's error of 3.00 beside a mean squared error per pixel",
            "theirs is a sum over the 784 pixels: 3.00 / 784 = .0038 per pixel",
            "test_a_sum_over_pixels_is_no_mean"),
    Erratum("a negative log-likelihood on MNIST, without its binarisation",
            "grey, drawn once or drawn anew: of grey images even a perfect model pays the pixels' entropy",
            "test_grey_images_cost_their_entropy"),
)  # fmt: skip
