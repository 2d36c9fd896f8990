"""The map of gradients in JAX: jit, and the vector-Jacobian product of a lax.scan under vmap."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import torch
from jax import lax
from torch import Tensor

from benchmarks.network import Network
from benchmarks.timing import seconds_of
from throughtime.cells import GRU, RNN

# Products of float32 numbers on a GPU, too, as torch's are, and not of TF32's.
jax.config.update("jax_default_matmul_precision", "highest")

# Sources that are pulled back at once, to choose from.
CHUNKS = (16, 32, 64, 128, 256)


def rnn(x: jax.Array, u: jax.Array, hidden: jax.Array) -> jax.Array:
    """The vanilla step from its pre-activations."""
    return jnp.tanh(x + u)


def gru(x: jax.Array, u: jax.Array, hidden: jax.Array) -> jax.Array:
    """The GRU's step, in torch's order of gates."""
    (x_r, x_z, x_n), (u_r, u_z, u_n) = jnp.split(x, 3, -1), jnp.split(u, 3, -1)
    r, z = jax.nn.sigmoid(x_r + u_r), jax.nn.sigmoid(x_z + u_z)
    return z * hidden + (1 - z) * jnp.tanh(x_n + r * u_n)


STEPS = {RNN: rnn, GRU: gru}


def scanned(network: Network, chunk: int) -> Callable[[], Tensor]:
    """The map, compiled at the first call.

    Args:
        network: Whose.
        chunk: How many sources are pulled back at once.
    """
    weights = network.layer.weights(0, 0)
    weight_hh, bias_hh = _jax(weights.weight_hh).T, _jax(weights.bias_hh)
    input_pre, direct = _jax(network.trajectory.input_pre), _jax(network.direct)
    step, sources = STEPS[type(network.cell)], jnp.asarray(network.sources.numpy())
    zeros = jnp.zeros((len(direct) + 1, *direct.shape[1:]))

    def losses(moved: jax.Array) -> jax.Array:
        """Of all steps, where every state h_0 .. h_T is moved by something."""

        def one(hidden: jax.Array, at: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            x, by, readout = at
            new = step(x, hidden @ weight_hh + bias_hh, hidden) + by
            return new, (readout * new).sum()

        return lax.scan(one, moved[0], (input_pre, moved[1:], direct))[1]

    @jax.jit
    def rows(followed: jax.Array) -> jax.Array:
        _, pull = jax.vjp(losses, zeros)
        (found,) = jax.vmap(pull)(jax.nn.one_hot(followed, len(direct)))
        return jnp.log(jnp.square(found).sum(-1).mean(-1)) / 2

    def whole() -> Tensor:
        found = [rows(sources[start : start + chunk]) for start in range(0, len(sources), chunk)]
        return torch.from_dlpack(jax.block_until_ready(jnp.concatenate(found))).double()

    return whole


def best_scanned(network: Network) -> tuple[int, Callable[[], Tensor]]:
    """The fastest of the chunks, and what runs it."""
    sources = len(network.sources)
    runs = {
        chunk: scanned(network, chunk) for chunk in CHUNKS if chunk < 2 * sources and sources % chunk in (0, sources)
    }
    runs = runs or {sources: scanned(network, sources)}
    for run in runs.values():
        run()
    best = min(runs, key=lambda chunk: seconds_of(runs[chunk]))
    return best, runs[best]


def _jax(tensor: Tensor) -> jax.Array:
    return jnp.asarray(tensor.detach().cpu().numpy())
