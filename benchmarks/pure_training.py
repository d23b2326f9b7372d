"""A site's round without a federation, in a fresh process: prints seconds of each part as JSON.

Usage: pure_training.py MOMENT SITE_CONFIG STUDY, where MOMENT is the time at which the process was started.
"""

import json
import sys
import time
from pathlib import Path

STARTED = float(sys.argv[1])

import client.app  # noqa: E402 - what a round's process imports is part of what is measured
import client.opening  # noqa: E402, F401 - as above
from client.site import data_root, open_site  # noqa: E402
from ra_core.config import SiteConfig, StudyConfig  # noqa: E402
from ra_core.files import cache_folder  # noqa: E402
from ra_core.models.registry import build_method  # noqa: E402
from ra_core.runtime import Runtime  # noqa: E402
from ra_core.settings import load_config  # noqa: E402
from ra_core.training import LocalTrainer, validation_error  # noqa: E402


def main():
    parts, last = {}, STARTED

    def done(part):
        nonlocal last
        now = time.time()
        parts[part], last = now - last, now

    done("imports")
    site, study = load_config(Path(sys.argv[2]), SiteConfig), load_config(Path(sys.argv[3]), StudyConfig)
    images = open_site(site, study.preprocessing, data_root(site, None), cache_folder() / "images")
    runtime = Runtime.resolve(site.runtime, study.training.precision)
    done("images")
    method = build_method(study.method, study.preprocessing.size, study.seed).to(runtime.device)
    validation_error(method, images.val, study.training.batch_size, runtime.device)
    done("validation")
    steps = study.federation.local_steps
    quiet = study.training.model_copy(update={"steps": steps + 1, "validate_every": steps + 1})
    LocalTrainer(method, images.train, images.val, quiet, runtime, study.seed).run(steps)
    done("training")
    print(json.dumps(parts))


if __name__ == "__main__":
    main()
