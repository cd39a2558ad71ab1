"""What release 0.1.0 stored stays readable: a field may be added at the end with a default, and nothing else."""

from __future__ import annotations

import msgspec

from andon.deploy.release import Release
from andon.model.bundle import Manifest
from andon.model.profile import Profile
from andon.model.run import Run

MANIFEST = (
    b'{"engine":"onnx","classes":["no","yes"],"contract":"0e7ec5c2dc2b17a3","code":"ab","files":{"model.onnx":'
    b'{"hash":"cd","bytes":12}},"prepares":true,"layout":{"numbers":["a"],"texts":["b"],"width":0},"difference":1e-8,'
    b'"rows_compared":443,"libraries":{"onnxruntime":"1.31.1"}}'
)
RUN = (
    b'{"id":"r1","status":"done","dataset":"38288397de32","code":"fc66bf4","parameters":{"C":0.5},"split":"s","seed":3,'
    b'"bundle":"0ac5","engine":"onnx","part":"test","rows":{"train":3,"test":1},"metrics":{"error":{"value":0.1,"low":0.0,'
    b'"high":0.4,"n":10,"method":"wilson"}},"slices":{"old":{"error":{"value":null,"low":null,"high":null,"n":0,'
    b'"method":"undefined","reason":"no row"}}},"confusion":{"classes":["no","yes"],"matrix":[[1,0],[0,1]]},'
    b'"predictions":"ff","environment":{"python":"3.11.7"},"wall_seconds":1.5,"peak_mb":300.0,"actor":"ann","time_us":1}'
)
RELEASE = (
    b'{"version":"v1","bundle":"0ac5","run":"r1","dataset":"38288397de32","contract":"0e7e","verdict":"pass","gates":'
    b'[{"metric":"error","verdict":"pass","bound":"<= 0.3"}],"later":["latency"],"actor":"ann","reason":"ok","time_us":1}'
)
PROFILE = (
    b'{"rows":480,"window_us":86400000000,"windows":{"cough":[{"value":0.2,"low":0.1,"high":0.4,"n":20,"method":"wilson"}]},'
    b'"inputs":{"age":{"type":"Categories","counts":{"Yes":3}}}}'
)


def test_stored_records_of_the_first_release_are_read() -> None:
    manifest = msgspec.json.decode(MANIFEST, type=Manifest)
    assert manifest.format == 1 and manifest.prepares and manifest.layout.texts == ("b",)
    run = msgspec.json.decode(RUN, type=Run)
    assert (
        run.metrics["error"].n == 10
        and run.slices["old"]["error"].reason == "no row"
        and run.legs["data"] == run.dataset
    )
    assert msgspec.json.decode(RELEASE, type=Release).later == ("latency",)
    assert msgspec.json.decode(PROFILE, type=Profile).windows["cough"][0].value == 0.2
