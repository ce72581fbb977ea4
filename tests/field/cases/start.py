"""Reports about the start of a mount: what starts also serves, and what would serve also starts."""

from tests.field import kinds
from tests.field.case import Case, lists, reads_all
from tests.field.kinds import ANY, LIST

FEW = {"a.txt": b"first\n", "d/b": b"b"}

CASES = (
    Case(
        "LIST needs a prefix in the query",
        "A policy allows LIST only with prefix= in the query, an empty one too.",
        oddities=(kinds.needs_prefix,),
    ),
    Case(
        "the first byte of each LIST takes long",
        "A store of many delete markers takes 20 s to the first byte of each LIST.",
        oddities=(kinds.slow(LIST, 16.5),),
        objects=FEW,
        options=("--timeout", "120"),
        starts_within=30,
        within=60,
        steps=(lists("", "a.txt", "d"),),
        transports=("native",),
    ),
    Case(
        "the store is busy while mounting",
        "A store answers 503 SlowDown three times, then serves.",
        oddities=(kinds.busy(3, ANY),),
        may_log=("503|SlowDown",),
    ),
    Case(
        "the store is busy without a document",
        "A load balancer answers 503 three times with an empty body while its store starts.",
        oddities=(kinds.busy(3, ANY, 503, ""),),
        may_log=("503",),
    ),
    Case(
        "the store comes up late",
        "A machine boots its mount and its store together; the store listens 8 s later.",
        late=8,
        starts_within=20,
        objects=FEW,
        steps=(reads_all(),),
        may_log=("refused|connect",),
        transports=("native",),
    ),
)
