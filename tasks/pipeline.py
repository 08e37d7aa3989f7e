"""The stages in order. Adding one is a file beside this and a name here."""

from tasks import correct, detect, embed, estimate, given, index, paths, publish, refine, shots, suppress, track
from tasks.stage import Stage

PIPELINE: tuple[Stage, ...] = (
    index.STAGE,
    given.BOXES,
    given.POSES,
    detect.STAGE,
    estimate.STAGE,
    suppress.STAGE,
    embed.STAGE,
    shots.STAGE,
    track.STAGE,
    paths.STAGE,
    refine.STAGE,
    correct.STAGE,
    publish.STAGE,
)

# Stages of one step share one pass over a video: it is decoded once, and each commits its own artifact. But those that see frames
# in order, or the whole video, or what people corrected, go one after the other.
STEPS: dict[str, tuple[Stage, ...]] = {
    "index": (index.STAGE, given.BOXES, given.POSES),
    "networks": (detect.STAGE, estimate.STAGE, suppress.STAGE, embed.STAGE),
    "track": (shots.STAGE, track.STAGE, paths.STAGE),
    "refine": (refine.STAGE,),
    "publish": (correct.STAGE, publish.STAGE),
}
