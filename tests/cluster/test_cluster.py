"""The cluster files say what Ray and KubeRay understand, and hold no secrets."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dsray.engine.connect import MEMORY, RAYLET

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
RAYJOB_FIELDS = {
    "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "backoffLimit", "activeDeadlineSeconds",
    "preRunningDeadlineSeconds", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "deletionStrategy",
    "rayClusterSpec",
}  # fmt: skip


@pytest.fixture(scope="module")
def aws() -> dict[str, Any]:
    found = yaml.safe_load((CLUSTER / "aws.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, dict[str, Any]]:
    """Kind → object."""
    return {d["kind"]: d for d in yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text(encoding="utf-8"))}


def pods(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Group → pod specification."""
    spec = job["spec"]["rayClusterSpec"]
    groups = {"head": spec["headGroupSpec"]} | {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in groups.items()}


def ray_schema() -> Any:
    import ray

    return json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))


def test_ray_accepts_the_aws_file(aws: dict[str, Any]) -> None:
    jsonschema.validate(aws, ray_schema())
    with pytest.raises(jsonschema.ValidationError):  # the schema is one that can refuse
        jsonschema.validate(aws | {"available_node_types": {"cpu": {"resources": {"CPU": 0.5}}}}, ray_schema())


def test_ray_fills_in_nothing_that_would_be_run(aws: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(copy.deepcopy(aws))
    validate_config(filled)
    run = {name for name in filled if name.endswith("_commands") and filled[name]}
    assert run == {"head_start_ray_commands", "worker_start_ray_commands"}


def test_aws_nodes_get_rights_from_profiles_and_answer_imdsv2_only(aws: dict[str, Any]) -> None:
    for node in aws["available_node_types"].values():
        config = node["node_config"]
        assert config["IamInstanceProfile"]["Name"].startswith("dsray-")
        assert config["MetadataOptions"]["HttpTokens"] == "required"
        assert config["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert all(disk["Ebs"]["Encrypted"] for disk in config["BlockDeviceMappings"])
        assert config["SecurityGroupIds"]  # without them Ray opens ssh to the world


def test_aws_workers_come_and_go(aws: dict[str, Any]) -> None:
    types = aws["available_node_types"]
    assert aws["head_node_type"] in types
    workers = [node for name, node in types.items() if name != aws["head_node_type"]]
    assert all(node["min_workers"] == 0 < node["max_workers"] for node in workers)
    assert any(node["resources"].get("GPU") for node in workers) and any("GPU" not in n["resources"] for n in workers)
    assert sum(node["max_workers"] for node in workers) <= aws["max_workers"]
    assert 0 < aws["idle_timeout_minutes"] <= 15


def test_the_token_is_on_every_node_and_the_dashboard_on_none_of_its_addresses(aws: dict[str, Any]) -> None:
    assert aws["file_mounts"] == {"/home/dsray/.ray/auth_token": "~/.ray/auth_token"}
    assert "RAY_AUTH_MODE=token" in (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    assert not any("dashboard-host" in command for command in aws["head_start_ray_commands"])


def test_the_image_has_the_settings_that_a_ray_of_our_own_has() -> None:
    said = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    assert [name for name, value in {**MEMORY, **RAYLET}.items() if f" {name}={value} \\\n" not in said] == []


def test_the_rayjob_has_only_fields_that_kuberay_knows(kubernetes: dict[str, dict[str, Any]]) -> None:
    job = kubernetes["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert set(job["spec"]) <= RAYJOB_FIELDS
    assert job["spec"]["entrypoint"] == "python -m jobs.build /recipes/digits.yaml"
    assert job["spec"]["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True


def test_the_rayjob_runs_the_ray_that_the_image_has(kubernetes: dict[str, dict[str, Any]]) -> None:
    pinned = re.search(r"^ray(?:\[.*\])?==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    assert kubernetes["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


def test_gpu_pods_are_scaled_from_nothing(kubernetes: dict[str, dict[str, Any]]) -> None:
    job = kubernetes["RayJob"]
    (gpu,) = [g for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"] if g["groupName"] == "gpu"]
    assert gpu["replicas"] == gpu["minReplicas"] == 0 < gpu["maxReplicas"]
    assert pods(job)["gpu"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in pods(job)["cpu"]["containers"][0]["resources"]["limits"]


def test_pods_have_few_rights_and_the_recipes(kubernetes: dict[str, dict[str, Any]]) -> None:
    for name, pod in pods(kubernetes["RayJob"]).items():
        (container,) = pod["containers"]
        assert pod["serviceAccountName"] == kubernetes["ServiceAccount"]["metadata"]["name"], name
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"]: "/recipes" for volume in pod["volumes"]}


def test_no_file_holds_a_secret() -> None:
    for path in CLUSTER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|AWS_SECRET_ACCESS_KEY|RAY_AUTH_TOKEN\s*[=:]", text
        ), path


def test_the_image_is_built_of_what_the_wheel_needs_and_runs_without_rights() -> None:
    allowed = {
        line[1:] for line in (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert all((ROOT / name).exists() for name in allowed), allowed
    lines = (CLUSTER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER dsray"]
    assert any("--constraint /tmp/constraints.txt" in line for line in lines)
    assert all(line.split()[1] == "python:3.11-slim" for line in lines if line.startswith("FROM"))


def test_the_readme_speaks_of_every_file() -> None:
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    shown = {path.name for path in CLUSTER.iterdir() if path.name not in ("README.md", "Dockerfile.dockerignore")}
    assert all(f"`{name}`" in text for name in shown)
