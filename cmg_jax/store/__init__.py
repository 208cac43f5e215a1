"""Motion larger than memory: a store on disk, filled by one process or many, and loaded as a bank.

    store = create_store(Path("bank.zarr"), model, num_envs=1_000_000, num_frames=500)
    fill(model, store)  # interrupted, the same two calls continue
    bank = load_bank("bank.zarr", model, num_motions=4096)

`cmg-jax generate --out DIR.zarr` makes the same stores.
"""

from cmg_jax.store._fill import FillReport, chunks_of_part, fill
from cmg_jax.store._load_bank import load_bank
from cmg_jax.store._store import DTYPES, SUFFIX, MotionStore, StoreConfig, create_store, open_store, read

__all__ = [
    "DTYPES",
    "SUFFIX",
    "FillReport",
    "MotionStore",
    "StoreConfig",
    "chunks_of_part",
    "create_store",
    "fill",
    "load_bank",
    "open_store",
    "read",
]
