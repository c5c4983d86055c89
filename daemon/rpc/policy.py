"""Who may call what, how large a request may be, and which calls are noted as changes. Data only.

What does not stand here is refused: a new method is closed until somebody decides who may call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineside.daemon.pki.identity import Role

KIB, MIB = 1024, 1024 * 1024
SMALL = 64 * KIB
PICTURE = 32 * MIB
RECIPE = 20 * MIB
CHUNK = 4 * MIB + SMALL


@dataclass(frozen=True, slots=True)
class Rule:
    """The least role that may call, the largest request in bytes, and whether the call changes the device.

    Triggers and pictures are no changes: each has a result of its own that says where it came from.
    """

    role: Role
    largest: int = SMALL
    changes: bool = False


def _service(name: str, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {f"/{name}/{method}": rule for method, rule in rules.items()}


_READ = Rule(Role.VIEWER)
_OPERATE = Rule(Role.OPERATOR, changes=True)
_ENGINEER = Rule(Role.ENGINEER, changes=True)
_ADMIN = Rule(Role.ADMIN, changes=True)

RULES: Mapping[str, Rule] = {
    **_service(
        "lineside.v1.DeviceService",
        {"GetDevice": _READ, "GetCaller": _READ, "ListChanges": Rule(Role.ADMIN)},
    ),
    **_service(
        "lineside.v1.CameraService",
        {
            "ListCameras": _READ,
            "GetCamera": _READ,
            "GetFrame": _READ,
            "PushFrame": Rule(Role.OPERATOR, PICTURE),
        },
    ),
    **_service(
        "lineside.v1.StationService",
        {"ListStations": _READ, "GetStation": _READ, "TriggerStation": Rule(Role.OPERATOR)},
    ),
    **_service(
        "lineside.v1.InspectionService",
        {
            "Inspect": Rule(Role.OPERATOR, PICTURE),
            "GetInspection": _READ,
            "ListInspections": _READ,
            "WatchInspections": _READ,
            "GetEvidence": _READ,
        },
    ),
    **_service(
        "lineside.v1.RecipeService",
        {
            "ListRecipes": _READ,
            "GetRecipe": _READ,
            "SelectRecipe": _OPERATE,
            "ValidateRecipe": Rule(Role.VIEWER, RECIPE),
            "CreateRecipe": Rule(Role.ENGINEER, RECIPE, changes=True),
            "ActivateRecipe": _ENGINEER,
            "RollBackRecipe": _ENGINEER,
        },
    ),
    **_service(
        "lineside.v1.JobService",
        {
            "CreateJob": _OPERATE,
            "GetJob": _READ,
            "ListJobs": _READ,
            "UpdateJob": _OPERATE,
            "StartJob": _OPERATE,
            "PauseJob": _OPERATE,
            "ResumeJob": _OPERATE,
            "StopJob": _OPERATE,
            "AbortJob": _OPERATE,
            "DeleteJob": _OPERATE,
        },
    ),
    **_service(
        "lineside.v1.ReviewService",
        {"SubmitReview": _OPERATE, "GetReview": _READ, "ListReviews": _READ},
    ),
    **_service(
        "lineside.v1.EngineService",
        {
            "ListEngines": _READ,
            "GetEngine": _READ,
            "CreateEngineUpload": _ADMIN,
            "GetEngineUpload": Rule(Role.ADMIN),
            "WriteEngineUpload": Rule(Role.ADMIN, CHUNK),
            "DeleteEngineUpload": _ADMIN,
            "InstallEngine": _ADMIN,
            "VerifyEngine": Rule(Role.ENGINEER),
            "ActivateEngine": _ADMIN,
            "RollBackEngine": _ADMIN,
            "DeleteEngine": _ADMIN,
        },
    ),
    **_service(
        "google.longrunning.Operations",
        {
            "GetOperation": _READ,
            "ListOperations": _READ,
            "WaitOperation": _READ,
            "CancelOperation": Rule(Role.ADMIN),
            "DeleteOperation": Rule(Role.ADMIN),
        },
    ),
    **_service("grpc.health.v1.Health", {"Check": _READ, "List": _READ, "Watch": _READ}),
    **_service("grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": _READ}),
    **_service("grpc.reflection.v1alpha.ServerReflection", {"ServerReflectionInfo": _READ}),
}


def allowed(role: Role) -> list[str]:
    """The methods that a role may call, sorted."""
    return sorted(method for method, rule in RULES.items() if role.may(rule.role))
