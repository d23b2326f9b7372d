"""Adam (Kingma and Ba, arXiv 1412.6980) as torch has it, without torch's compiler.

torch wraps an optimizer's methods so that its compiler keeps off them, and the wrapping imports that compiler, also
where nothing is compiled: it takes nearly as long as torch itself, in the fresh process that each round begins with.
"""

from __future__ import annotations

from inspect import unwrap

import torch

__all__ = ["Adam"]


class Adam(torch.optim.Adam):
    """The same steps, to the bit. Not for `differentiable`, nor to be compiled."""


for _name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
    setattr(Adam, _name, unwrap(getattr(torch.optim.Adam, _name)))
setattr(Adam, "step", torch.no_grad()(unwrap(torch.optim.Adam.step)))  # noqa: B010 - a class' method, as above
