"""A Hydra app of somebody else: it squares a number, and knows nothing of this package."""

import os
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    with Path(cfg.notes, f"ran-{cfg.x}").open("a") as file:
        file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "every-GPU") + "\n")
    if cfg.x == cfg.bad:
        raise ArithmeticError(f"no square of {cfg.x}")
    while cfg.x >= cfg.gate and not Path(cfg.notes, "open").exists():
        time.sleep(0.05)
    return cfg.x**2


if __name__ == "__main__":
    main()
