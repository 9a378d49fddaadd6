"""How every test runs: eight simulated devices, strict dtypes, annotations executed."""

import os

# Before anything imports jax.
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["KERAS_BACKEND"] = "jax"

import jax
import jaxtyping

# Shapes in the library's annotations are checked at every call, here and nowhere else.
_hook = jaxtyping.install_import_hook("jaxrnn", "beartype.beartype")
_hook.__enter__()

jax.config.update("jax_numpy_dtype_promotion", "strict")
