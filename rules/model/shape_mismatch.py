"""NN407: the numbers that one layer puts out are not the numbers that the next one takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Failure, Run

_MISMATCH = re.compile(
    r"""mat1\ and\ mat2\ shapes | expected\ input.*to\ have.*channels | must\ match\ the\ size\ of\ tensor
    | Sizes\ of\ tensors\ must\ match | shape\ '.*'\ is\ invalid\ for\ input | size\ mismatch,\ got
    | input\.size\(-1\)\ must\ be\ equal | Expected\ hidden | running_mean\ should\ contain
    | expected\ input\ with\ shape | normalized_shape | embed_dim\ | Expected\ size\ for\ first\ two\ dimensions
    | was\ expecting\ embedding\ dimension | Expected\ number\ of\ channels | expected.*D.*input
    | size\ of\ tensor | inconsistent\ tensor\ size | not\ broadcastable | Kernel\ size\ can't\ be\ greater""",
    re.VERBOSE | re.IGNORECASE,
)
_PRODUCT = re.compile(r"\((\d+)x(\d+) and (\d+)x(\d+)\)")
_LEAVES = re.compile(r"(Linear|Bilinear|(Lazy)?Conv.*|BatchNorm.*|InstanceNorm.*|GroupNorm|LayerNorm|RNN|LSTM|GRU)$")


class ShapeMismatch(Rule):
    """Two layers do not fit together: the forward pass fails with an error about shapes.

    ## What it is

    The size that a layer was made for is not the size of what reaches it: the number of features after `flatten`
    was computed for another image size, padding or pooling; the channels of one convolution are not those of the
    next; a recurrent layer returns twice the width because it is bidirectional.

    ## Why it hurts training

    The run ends with an error of torch's, and the message names two matrices, but neither the layer nor the place
    where its size is written down. The traceback ends in torch's own code or in `forward`; the number to be changed
    stands in the constructor.

    ## How it is told apart from code that only looks alike

    - Only errors that torch raises about sizes, inside the forward pass of a module, are explained.
    - An error in the script's own code between two layers is reported at that line.
    - Weights that do not fit into a model (`load_state_dict`), and losses whose arguments differ in size, are other
      mistakes.
    - An error that the script catches ends nothing and is not reported.

    The layers of the same forward pass and their shapes were recorded up to the one that failed; there is no
    threshold.

    ## What to do

    Give the layer the size that arrives, best by computing it from what comes before:

    ```python
    with torch.no_grad():
        features = self.features(torch.zeros(1, 3, 32, 32)).flatten(1).shape[1]
    self.fc = nn.Linear(features, 10)  # or nn.LazyLinear(10)
    ```
    """

    code = "NN407"
    name = "shape-mismatch"
    points = (25,)
    severity = Severity.ERROR

    def watch(self, run: Run) -> Iterator[Finding]:
        for failure in run.failures:
            module = run.of("module", failure.module)
            loading = "state_dict" in failure.message
            if failure.type != "RuntimeError" and failure.type != "ValueError":
                continue
            if module is None or loading or not _MISMATCH.search(failure.message):
                continue
            layer = module if _LEAVES.match(module.class_name) and module.line else None
            where = layer.line if layer else failure.line
            first = failure.message.splitlines()[0][:200]
            yield self.finding(
                where,
                f"{_fact(failure, module.name, module.class_name)} Torch says: {first.rstrip('.')}.",
                _advice(failure, module.name),
                evidence=_flow(run, failure),
            )


def _fact(failure: Failure, name: str, class_name: str) -> str:
    product = _PRODUCT.search(failure.message)
    arrived = failure.flow[-1][2] if failure.flow else ""
    shape = f" of shape {arrived}" if arrived else ""
    if product and class_name == "Linear":
        return (
            f"`{name}` takes {product[3]} features, but {product[2]} arrive (input{shape}): the forward pass fails "
            "and the run ends."
        )
    return f"`{name}` ({class_name}) cannot work on its input{shape}: the forward pass fails and the run ends."


def _advice(failure: Failure, name: str) -> str:
    product = _PRODUCT.search(failure.message)
    if product:
        return f"Make `{name}` for {product[2]} inputs, or change what comes before it so that {product[3]} arrive."
    return f"Make the sizes of `{name}` agree with the shapes that arrive; the layers before it are listed."


def _flow(run: Run, failure: Failure) -> list[Hop]:
    """The last layers before the failure, with their shapes."""
    hops = []
    by_name = {module.name: module for module in run.modules}
    for name, class_name, inputs, outputs in failure.flow[-4:-1]:
        module = by_name.get(name)
        if module is not None and outputs:
            hops.append(Hop(f"`{name}` ({class_name})", module.line, f"{inputs} -> {outputs}"))
    return [*hops[-2:], Hop("the forward pass fails here", failure.line, failure.type)]
