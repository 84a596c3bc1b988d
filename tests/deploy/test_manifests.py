"""What is installed on Kubernetes: every field is one that Kubernetes knows, and the parts fit one another."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from host.serve import check_address
from host.settings import Settings
from host.worker_pool import DRAIN_MARGIN_S
from scripts.manifests import CHECKOV, OVERLAYS, Document, documents, lint, overlays, problems, render

SECRETS_DIR = "COGREEL_SECRETS_DIR"


@cache
def rendered(overlay: str) -> str:
    return render(OVERLAYS / overlay)


def of_kind(overlay: str, kind: str) -> dict[str, Document]:
    """The documents of a kind, by name."""
    found = [document for document in documents(rendered(overlay)) if document["kind"] == kind]
    return {document["metadata"]["name"]: document for document in found}


def pods(overlay: str) -> dict[str, Document]:
    """The pod templates, by the name of what makes the pods."""
    makers = of_kind(overlay, "Deployment") | of_kind(overlay, "StatefulSet")
    return {name: maker["spec"]["template"] for name, maker in makers.items()}


def settings_of(overlay: str, workload: str) -> dict[str, str]:
    """The environment that a workload's first container gets from ConfigMaps."""
    maps = of_kind(overlay, "ConfigMap")
    container = pods(overlay)[workload]["spec"]["containers"][0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found


def matches(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    equal = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    return equal and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ()) if rule["key"]
    )


def test_there_is_an_overlay_for_one_node_one_for_production_and_one_to_try_it_without_a_gpu() -> None:
    assert overlays() == ["production", "single-node", "trial"]


def test_a_trial_needs_no_gpu_no_weights_and_no_internet() -> None:
    worker = pods("trial")["cogreel-worker"]["spec"]
    assert "nvidia.com/gpu" not in rendered("trial")
    assert "initContainers" not in worker
    assert "cogreel-models" not in of_kind("trial", "PersistentVolumeClaim")
    assert "worker-fetches" not in of_kind("trial", "NetworkPolicy")
    assert settings_of("trial", "cogreel-worker")["COGREEL_DEVICES"] == "simulated"


@pytest.mark.parametrize("overlay", overlays())
def test_every_field_is_known(overlay: str) -> None:
    found = documents(rendered(overlay))
    assert [problem for document in found for problem in problems(document)] == []


@pytest.mark.parametrize(
    ("kind", "path", "misspelt"),
    [
        ("Deployment", ("spec", "template", "spec"), "terminationGracePeriodSecond"),
        ("NetworkPolicy", ("spec",), "policyType"),
        ("PodDisruptionBudget", ("spec",), "maxUnavailabel"),
        ("ScaledObject", ("spec",), "coolDownPeriod"),
        ("ScaledObject", ("spec", "triggers", 0), "metaData"),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0), "intervall"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0), "annotation"),
    ],
)
def test_a_misspelt_field_is_an_error_that_names_it(kind: str, path: tuple[str | int, ...], misspelt: str) -> None:
    document = copy.deepcopy(next(iter(of_kind("production", kind).values())))
    part: Any = document
    for step in path:
        part = part[step]
    part[misspelt] = 1
    found = problems(document)
    assert any(misspelt in problem.message for problem in found), found


def test_a_kind_without_a_schema_is_an_error() -> None:
    document = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObjekt", "metadata": {"name": "workers"}}
    assert [str(problem) for problem in problems(document)] == [
        "ScaledObjekt/workers: kind: there is no schema for keda.sh/v1alpha1 ScaledObjekt"
    ]


@pytest.mark.skipif(not CHECKOV.exists(), reason="`make manifests` installs checkov")
def test_a_privileged_container_does_not_pass_the_linter(tmp_path: Path) -> None:
    path = tmp_path / "privileged.yaml"
    path.write_text(rendered("single-node").replace("allowPrivilegeEscalation: false", "privileged: true", 1))
    passed, said = lint(path)
    assert not passed
    assert "CKV_K8S_16" in said


@pytest.mark.parametrize("overlay", overlays())
@pytest.mark.parametrize("workload", ["cogreel-service", "cogreel-gateway", "cogreel-worker"])
def test_every_setting_is_one_that_the_programs_read(overlay: str, workload: str) -> None:
    known = {f"COGREEL_{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR}
    settings = settings_of(overlay, workload)
    assert {name for name in settings if name.startswith("COGREEL_")} <= known
    values = {name.removeprefix("COGREEL_").lower(): value for name, value in settings.items()}
    Settings.model_validate_strings({name: value for name, value in values.items() if name != "endpoints"})


@pytest.mark.parametrize("overlay", overlays())
@pytest.mark.parametrize(("workload", "role"), [("cogreel-service", "COGREEL"), ("cogreel-gateway", "COGREEL_GATEWAY")])
def test_what_is_to_be_reached_from_other_pods_may_listen_there(overlay: str, workload: str, role: str) -> None:
    settings = settings_of(overlay, workload)
    address = settings[f"{role}_LISTEN"]
    assert address.startswith("0.0.0.0:")
    check_address(address, insecure=settings.get("COGREEL_INSECURE") == "true" or f"{role}_CERTIFICATE" in settings)


@pytest.mark.parametrize("overlay", overlays())
def test_every_folder_that_a_setting_names_is_mounted_where_the_setting_is_read(overlay: str) -> None:
    maps = of_kind(overlay, "ConfigMap")
    missing = set()
    for template in pods(overlay).values():
        for container in [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]:
            mounted = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
            for source in container.get("envFrom", ()):
                for name, value in maps[source["configMapRef"]["name"]]["data"].items():
                    path = Path(value)
                    if path.is_absolute() and not any(path.is_relative_to(folder) for folder in mounted):
                        missing.add(f"{container['name']}: {name}={value}")
    assert missing == set()


@pytest.mark.parametrize("overlay", overlays())
def test_a_worker_has_longer_to_end_than_the_video_that_it_makes(overlay: str) -> None:
    grace_s = float(settings_of(overlay, "cogreel-worker")["COGREEL_WORKER_GRACE_S"])
    assert pods(overlay)["cogreel-worker"]["spec"]["terminationGracePeriodSeconds"] > grace_s + DRAIN_MARGIN_S


@pytest.mark.parametrize("overlay", overlays())
def test_a_replica_of_the_service_has_longer_to_end_than_its_calls(overlay: str) -> None:
    grace_s = float(settings_of(overlay, "cogreel-service")["COGREEL_SHUTDOWN_GRACE_S"])
    pod = pods(overlay)["cogreel-service"]["spec"]
    before_stop_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before_stop_s + grace_s


@pytest.mark.parametrize("overlay", overlays())
def test_services_monitors_budgets_and_policies_select_pods_and_ports_that_exist(overlay: str) -> None:
    templates = pods(overlay)

    def selected(selector: Document) -> set[str]:
        found = [template for template in templates.values() if matches(selector, template["metadata"]["labels"])]
        assert found, selector
        return {
            port["name"]
            for template in found
            for one in template["spec"]["containers"]
            for port in one.get("ports", ())
        }

    for service in of_kind(overlay, "Service").values():
        ports = selected({"matchLabels": service["spec"]["selector"]})
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for budget in of_kind(overlay, "PodDisruptionBudget").values():
        selected(budget["spec"]["selector"])
    for monitor in of_kind(overlay, "PodMonitor").values():
        assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= selected(monitor["spec"]["selector"])
    for policy in of_kind(overlay, "NetworkPolicy").values():
        own = selected(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= own, policy["metadata"]["name"]
            for peer in rule["from"]:
                assert "namespaceSelector" in peer or selected(peer["podSelector"])


def test_whatever_serves_metrics_is_scraped_and_open_to_prometheus() -> None:
    served = {name for name in pods("production") if "COGREEL_METRICS_LISTEN" in settings_of("production", name)}
    assert served == {"cogreel-service", "cogreel-gateway", "cogreel-worker"}
    policy = of_kind("production", "NetworkPolicy")["metrics"]["spec"]["podSelector"]
    for name in served:
        labels = pods("production")[name]["metadata"]["labels"]
        monitors = of_kind("production", "PodMonitor").values()
        assert any(matches(monitor["spec"]["selector"], labels) for monitor in monitors), name
        assert matches(policy, labels), name


@pytest.mark.parametrize("overlay", overlays())
def test_webhooks_get_out_of_the_service_to_public_addresses_alone(overlay: str) -> None:
    policy = of_kind(overlay, "NetworkPolicy")["service-webhooks"]["spec"]
    assert matches(policy["podSelector"], pods(overlay)["cogreel-service"]["metadata"]["labels"])
    [rule] = policy["egress"]
    [to] = rule["to"]
    assert {"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16"} <= set(to["ipBlock"]["except"])
    assert [port["port"] for port in rule["ports"]] == [443, 80]


@pytest.mark.parametrize("overlay", overlays())
def test_nothing_is_let_in_or_out_that_no_policy_names(overlay: str) -> None:
    deny = of_kind(overlay, "NetworkPolicy")["deny-all"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", overlays())
def test_pods_run_without_privileges_tokens_or_a_writable_root(overlay: str) -> None:
    for template in pods(overlay).values():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("overlay", overlays())
def test_no_secret_is_in_the_manifests_or_in_an_environment(overlay: str) -> None:
    assert of_kind(overlay, "Secret") == {}
    assert "secretKeyRef" not in rendered(overlay)


def test_workers_are_scaled_on_the_endpoints_that_they_serve() -> None:
    trigger = of_kind("production", "ScaledObject")["cogreel-worker"]["spec"]["triggers"][0]
    endpoints = Settings.model_validate_json(
        f'{{"endpoints": {settings_of("production", "cogreel-worker")["COGREEL_ENDPOINTS"]}}}'
    ).endpoints
    assert set(trigger["metadata"]["endpoint"].split(",")) == set(endpoints)
    host, _, port = trigger["metadata"]["scalerAddress"].partition(":")
    name, namespace, _ = host.split(".")
    service = of_kind("production", "Service")[name]
    assert service["metadata"]["namespace"] == namespace
    assert [one["port"] for one in service["spec"]["ports"]] == [int(port)]


def test_the_replica_count_of_workers_is_left_to_keda() -> None:
    assert "replicas" not in of_kind("production", "Deployment")["cogreel-worker"]["spec"]


def nats_files(overlay: str) -> dict[str, str]:
    """What NATS gets from ConfigMaps, by file name."""
    volumes = pods(overlay)["nats"]["spec"]["volumes"]
    sources = next(volume["projected"]["sources"] for volume in volumes if volume["name"] == "config")
    maps = of_kind(overlay, "ConfigMap")
    found: dict[str, str] = {}
    for source in sources:
        if "configMap" in source:
            found |= maps[source["configMap"]["name"]]["data"]
    return found


def test_production_keeps_to_the_roles_and_to_tls() -> None:
    roles = (Path(__file__).parents[2] / "deploy/nats/roles.conf").read_text()
    assert nats_files("production")["roles.conf"] == roles
    for workload in ("service", "worker"):
        settings = settings_of("production", f"cogreel-{workload}")
        assert settings["COGREEL_NATS_INBOX_PREFIX"] == f"_INBOX_{workload}"
        assert settings["COGREEL_NATS_TLS_FIRST"] == settings["COGREEL_S3_SECURE"] == "true"
    service = settings_of("production", "cogreel-service")
    assert service["COGREEL_INSECURE"] == "false"
    assert {"COGREEL_CERTIFICATE", "COGREEL_PRIVATE_KEY", "COGREEL_CLIENT_CA_FILE"} <= set(service)
    gateway = settings_of("production", "cogreel-gateway")
    assert gateway["COGREEL_GATEWAY_SERVICE"].startswith("https://cogreel-service:")
    for name, workload in (("cogreel-grpc", "service"), ("cogreel-http", "gateway")):
        annotations = of_kind("production", "Ingress")[name]["metadata"]["annotations"]
        assert annotations["nginx.ingress.kubernetes.io/proxy-ssl-verify"] == "on"
        assert annotations["nginx.ingress.kubernetes.io/proxy-ssl-name"] == f"cogreel-{workload}"


@pytest.mark.parametrize("overlay", overlays())
def test_probes_ask_where_no_certificate_is_wanted(overlay: str) -> None:
    for name in ("cogreel-service", "cogreel-worker"):
        container = pods(overlay)[name]["spec"]["containers"][0]
        settings = settings_of(overlay, name)
        tls = settings.get("COGREEL_CERTIFICATE") and settings["COGREEL_LISTEN"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container[probe]["grpc"]["port"]
            assert port in {one["containerPort"] for one in container["ports"]}
            listening = settings.get("COGREEL_HEALTH_LISTEN") or settings["COGREEL_LISTEN"]
            assert listening.endswith(f":{port}")
            assert not (tls and tls.endswith(f":{port}"))


@pytest.mark.parametrize("overlay", overlays())
def test_nats_takes_its_configuration(overlay: str, tmp_path: Path) -> None:
    """As the server itself reads it, with the files of the Secrets beside it."""
    mounted = nats_files(overlay)
    text = mounted.pop("nats.conf")
    for name, content in mounted.items():
        (tmp_path / name).write_text(content)
    certificates = tmp_path / "tls"
    certificates.mkdir()
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(certificates / "tls.key"), "-out", str(certificates / "tls.crt"), "-subj", "/CN=nats"]
    subprocess.run([*request, *files], check=True, capture_output=True)
    (certificates / "ca.crt").write_bytes((certificates / "tls.crt").read_bytes())
    (tmp_path / "authorization.conf").write_text('authorization { user: cogreel, password: "secret" }\n')
    passwords = [f'{role}_PASSWORD: "secret"' for role in ("SERVICE", "WORKER", "OPERATOR")]
    (tmp_path / "passwords.conf").write_text("\n".join(passwords))
    config = tmp_path / "nats.conf"
    config.write_text(text.replace("/etc/nats-tls", str(certificates)).replace('"/data"', f'"{tmp_path}/data"'))
    server = Path(sys.executable).with_name("nats-server")
    done = subprocess.run([server, "-t", "-c", config], env={"POD_NAME": "nats-0"}, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
