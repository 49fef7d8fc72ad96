"""Inversion once more, in the papers' own notation; shares nothing with `inversion/`.

x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps; the network predicts eps from (x_t, alpha_bar).
Steps follow Song et al. 2021, eq. 12 and 16; inversion follows Huberman-Spiegelglas et al. 2024,
Algorithm 1.
"""

from itertools import pairwise
from math import sqrt


def sigma_t(alpha_bar, alpha_bar_next, eta):
    return eta * sqrt((1 - alpha_bar_next) / (1 - alpha_bar)) * sqrt(1 - alpha_bar / alpha_bar_next)


def mu_t(x_t, eps, alpha_bar, alpha_bar_next, eta):
    predicted_x_0 = (x_t - sqrt(1 - alpha_bar) * eps) / sqrt(alpha_bar)
    direction = sqrt(1 - alpha_bar_next - sigma_t(alpha_bar, alpha_bar_next, eta) ** 2)
    return sqrt(alpha_bar_next) * predicted_x_0 + direction * eps


def invert(predict_eps, x_0, alpha_bars, noise, eta):
    """Noise maps by step, for alpha_bars from the noisy end; the last step has none if it ends at
    1.
    """
    x = [sqrt(a) * x_0 + sqrt(1 - a) * n for a, n in zip(alpha_bars, noise, strict=True)]
    z = []
    for i in range(len(alpha_bars) - 1):
        a, a_next = alpha_bars[i], alpha_bars[i + 1]
        std = sigma_t(a, a_next, eta)
        mean = mu_t(x[i], predict_eps(x[i], a), a, a_next, eta)
        z.append((x[i + 1] - mean) / std if std > 0 else x[i + 1] - mean)
    return x, z


def sample(predict_eps, x_t, alpha_bars, z, eta):
    for i in range(len(alpha_bars) - 1):
        a, a_next = alpha_bars[i], alpha_bars[i + 1]
        x_t = mu_t(x_t, predict_eps(x_t, a), a, a_next, eta) + (sigma_t(a, a_next, eta) or 1) * z[i]
    return x_t


def posterior(x_t, x_0, alpha, sigma, alpha_next, sigma_next):
    """Mean and standard deviation of q(x_next | x, x_0) of the Markov chain with marginals alpha
    x_0 + sigma n, by Bayes' rule on its two Gaussians; holds for flow models too (Kingma et al.
    2021, eq. 30 and 31)."""
    ratio = alpha / alpha_next
    added = sigma**2 - ratio**2 * sigma_next**2
    mean = ratio * sigma_next**2 / sigma**2 * x_t + alpha_next * added / sigma**2 * x_0
    return mean, sqrt(added) * sigma_next / sigma


def ddim_invert(predict_eps, x_0, alpha_bars):
    """The papers' DDIM inversion: alpha_bars from 1 downwards; the network sees the latent at hand
    at the level that the step goes to (Mokady et al. 2023, authors' code)."""
    x = [x_0]
    for a, a_up in pairwise(alpha_bars):
        eps = predict_eps(x[-1], a_up)
        predicted_x_0 = (x[-1] - sqrt(1 - a) * eps) / sqrt(a)
        x.append(sqrt(a_up) * predicted_x_0 + sqrt(1 - a_up) * eps)
    return x
