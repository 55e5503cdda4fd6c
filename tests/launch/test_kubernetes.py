"""The JobSet: its schema, what its names refer to, and what follows each exit status."""

import re
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.launch.stand_ins import ROOT

VERSIONS = ("1.31", "1.37")  # of Kubernetes: the first with pod failure policies for good, the last


def an_object(**properties):
    """The schema of an object that has these properties, each of them, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def a_list(items):
    return {"type": "array", "items": items, "minItems": 1}


NAME = {"type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$"}
TEXT = {"type": "string"}
ACTIONS = ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
REASONS = ["BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "PodFailurePolicy"]
RULE = an_object(name=TEXT, action={"enum": ACTIONS}, onJobFailureReasons=a_list({"enum": REASONS}))
RULE["properties"]["onJobFailureMessagePatterns"] = a_list(TEXT)
# What of JobSet is used here (https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2). The Job
# in it has a schema of Kubernetes' own.
JOBSET = an_object(
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=an_object(name=NAME),
    spec=an_object(
        network=an_object(enableDNSHostnames={"type": "boolean"}, subdomain=NAME),
        failurePolicy=an_object(maxRestarts={"type": "integer", "minimum": 0}, rules=a_list(RULE)),
        replicatedJobs=a_list(
            an_object(name=NAME, replicas={"const": 1}, template=an_object(spec={"type": "object"}))
        ),
    ),
)


@pytest.fixture
def documents():
    return list(yaml.safe_load_all((ROOT / "launch" / "kubernetes.yaml").read_text()))


@pytest.fixture
def jobset(documents):
    (found,) = (document for document in documents if document["kind"] == "JobSet")
    return found


@pytest.fixture
def replicated(jobset):
    (found,) = jobset["spec"]["replicatedJobs"]
    return found


@pytest.fixture
def job(replicated):
    return replicated["template"]["spec"]


@pytest.fixture
def pod(job):
    return job["template"]["spec"]


@pytest.fixture
def container(pod):
    (found,) = pod["containers"]
    return found


def test_the_jobset_has_its_schema(jobset):
    jsonschema.validate(jobset, JOBSET)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_and_the_volume_have_theirs(documents, jobset, job, version):
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": job}
    for document in [whole, *(document for document in documents if document is not jobset)]:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_field_is_found(jobset, job):
    job["backofLimit"] = 0
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": job}
    with pytest.raises(kubernetes_validate.ValidationError, match="backofLimit"):
        kubernetes_validate.validate(whole, VERSIONS[-1], strict=True)
    jobset["spec"]["failurePolicy"]["maxRestart"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxRestart"):
        jsonschema.validate(jobset, JOBSET)


def test_every_pod_knows_its_place(jobset, replicated, job, container):
    values = {entry["name"]: entry for entry in container["env"]}
    host, port = values["JAX_COORDINATOR_ADDRESS"]["value"].split(":")
    subdomain = jobset["spec"]["network"]["subdomain"]
    assert host == f"{jobset['metadata']['name']}-{replicated['name']}-0-0.{subdomain}"
    assert 1024 < int(port) < 65536
    assert int(values["JAX_NUM_PROCESSES"]["value"]) == job["completions"] == job["parallelism"]
    assert job["completionMode"] == "Indexed"
    index = values["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_the_run_is_on_the_claimed_volume(documents, pod, container):
    (claim,) = (document for document in documents if document["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (mount,) = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    (workdir,) = (word for word in container["args"] if word.startswith("--workdir="))
    assert workdir.startswith(f"--workdir={mount['mountPath']}/")


def test_the_command_of_the_readme_names_the_image(tmp_path):
    """In a table `|` is written with a backslash; `cat` stands for kubectl."""
    (row,) = re.findall(r"^\| \[Kubernetes\].*$", (ROOT / "README.md").read_text(), flags=re.M)
    *build, apply = re.findall(r"`([^`]*)`", row.replace("\\|", "|"))
    image = build[-1].removeprefix("docker push ")
    assert f"-t {image} " in build[0]
    command = apply.replace("kubectl apply -f -", "cat")
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True)
    *_, jobset = yaml.safe_load_all(done.stdout)
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == image


def test_there_is_time_to_save(pod):
    assert pod["terminationGracePeriodSeconds"] >= 60


def failure(job, status=None, condition=None) -> tuple[str, str]:
    """The reason and message that Kubernetes gives when a process exits or a pod is evicted.

    The first rule that fits decides.
    """
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        assert rule["action"] == "FailJob"
        codes = rule.get("onExitCodes", {"values": []})
        conditions = rule.get("onPodConditions", [])
        if status in codes["values"]:
            (container,) = job["template"]["spec"]["containers"]
            assert (codes["containerName"], codes["operator"]) == (container["name"], "In")
            why = f"Container {container['name']} for pod default/a failed with exit code {status}"
            return "PodFailurePolicy", f"{why} matching FailJob rule at index {index}"
        if condition in [each["type"] for each in conditions]:
            why = f"Pod default/a has condition {condition}"
            return "PodFailurePolicy", f"{why} matching FailJob rule at index {index}"
    assert job["backoffLimit"] == 0
    return "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def action(jobset, reason: str, message: str) -> str:
    """What a JobSet does after the failure of a job: its first rule that fits, or a restart."""
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(p, message) for p in patterns):
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ({"status": 75}, "RestartJobSet"),  # saved, or another process was lost: it may be again
        ({"status": 75, "condition": "DisruptionTarget"}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"status": 143, "condition": "DisruptionTarget"}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"status": 1, "condition": "DisruptionTarget"}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"status": 1}, "FailJobSet"),
        ({"status": 2}, "FailJobSet"),
        ({"status": 137}, "RestartJobSet"),
        ({"status": 134}, "RestartJobSet"),
    ],
    ids=str,
)
def test_what_follows_a_failure(jobset, job, ended, expected):
    assert action(jobset, *failure(job, **ended)) == expected
    assert 1 <= jobset["spec"]["failurePolicy"]["maxRestarts"] <= 50
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # the policy of failures needs it
