#!/usr/bin/env python3
"""The Kubernetes manifests without a cluster: every field is one of the API's, names that must meet do, and what they
hand to our programs those programs take."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import yaml
except ImportError:  # Debian's package python3-yaml is for Debian's Python, which need not come first
    if os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3"):
        sys.exit("manifests_test: apt-get install python3-yaml")
    os.execv("/usr/bin/python3", ["/usr/bin/python3", "-B", *sys.argv])

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("XSCHED_HSA_BUILD", ROOT / "build"))
FOLDER = ROOT / "tools/packaging/kubernetes"

# What we use of the Kubernetes API (v1, apps/v1), by its reference: a type is its fields and their types; [t] is a
# list of t, {t} a map of text to t. Names and types are those in Kubernetes' own client for JavaScript
# (@kubernetes/client-node 2.0.1, models V1*), which is generated from the API's description.
TYPES = {
    "Namespace": {"apiVersion": str, "kind": str, "metadata": "ObjectMeta"},
    "ConfigMap": {"apiVersion": str, "kind": str, "metadata": "ObjectMeta", "data": {str}},
    "DaemonSet": {"apiVersion": str, "kind": str, "metadata": "ObjectMeta", "spec": "DaemonSetSpec"},
    "Pod": {"apiVersion": str, "kind": str, "metadata": "ObjectMeta", "spec": "PodSpec"},
    "ObjectMeta": {"name": str, "namespace": str, "labels": {str}, "annotations": {str}},
    "DaemonSetSpec": {"selector": "LabelSelector", "updateStrategy": "DaemonSetUpdateStrategy",
                      "template": "PodTemplateSpec"},
    "LabelSelector": {"matchLabels": {str}},
    "DaemonSetUpdateStrategy": {"type": str},
    "PodTemplateSpec": {"metadata": "ObjectMeta", "spec": "PodSpec"},
    "PodSpec": {"hostPID": bool, "nodeSelector": {str}, "tolerations": ["Toleration"], "priorityClassName": str,
                "terminationGracePeriodSeconds": int, "initContainers": ["Container"], "containers": ["Container"],
                "volumes": ["Volume"]},
    "Toleration": {"key": str, "operator": str, "effect": str},
    "Container": {"name": str, "image": str, "command": [str], "args": [str], "env": ["EnvVar"],
                  "securityContext": "SecurityContext", "resources": "ResourceRequirements", "readinessProbe": "Probe",
                  "volumeMounts": ["VolumeMount"]},
    "EnvVar": {"name": str, "value": str, "valueFrom": "EnvVarSource"},
    "EnvVarSource": {"fieldRef": "ObjectFieldSelector"},
    "ObjectFieldSelector": {"fieldPath": str},
    "SecurityContext": {"runAsUser": int, "readOnlyRootFilesystem": bool, "allowPrivilegeEscalation": bool,
                        "capabilities": "Capabilities", "seccompProfile": "SeccompProfile"},
    "Capabilities": {"drop": [str], "add": [str]},
    "SeccompProfile": {"type": str},
    "ResourceRequirements": {"requests": {str}, "limits": {str}},
    "Probe": {"exec": "ExecAction", "periodSeconds": int, "timeoutSeconds": int},
    "ExecAction": {"command": [str]},
    "VolumeMount": {"name": str, "mountPath": str, "readOnly": bool},
    "Volume": {"name": str, "hostPath": "HostPathVolumeSource", "configMap": "ConfigMapVolumeSource"},
    "HostPathVolumeSource": {"path": str, "type": str},
    "ConfigMapVolumeSource": {"name": str},
}
VERSIONS = {"Namespace": "v1", "ConfigMap": "v1", "Pod": "v1", "DaemonSet": "apps/v1"}


def mistakes(value, of, where):
    """What in `value` is not as its type has it."""
    if isinstance(of, str):
        if not isinstance(value, dict):
            return [f"{where} is no {of}"]
        known = TYPES[of]
        return [f"{where} has no '{key}'" for key in value if key not in known] + [
            one for key in value if key in known for one in mistakes(value[key], known[key], f"{where}.{key}")]
    if isinstance(of, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [one for i, each in enumerate(value) for one in mistakes(each, of[0], f"{where}[{i}]")]
    if isinstance(of, set):
        if not isinstance(value, dict):
            return [f"{where} is no map"]
        return [one for key, each in value.items() for one in mistakes(each, next(iter(of)), f"{where}[{key}]")]
    return [] if type(value) is of else [f"{where} is {value!r}, no {of.__name__}"]


def load(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


class ManifestsTest(unittest.TestCase):
    def setUp(self):
        self.objects = {one["kind"]: one for one in load("daemonset.yaml")}
        self.template = self.objects["DaemonSet"]["spec"]["template"]
        self.spec = self.template["spec"]
        self.example, = load("example-pod.yaml")

    def pods(self):
        return [self.spec, self.example["spec"]]

    def test_every_field_is_the_apis(self):
        self.assertEqual(set(self.objects), {"Namespace", "ConfigMap", "DaemonSet"}, "applying it starts no pod of a user")
        for one in [*self.objects.values(), self.example]:
            self.assertEqual(one["apiVersion"], VERSIONS[one["kind"]])
            self.assertEqual(mistakes(one, one["kind"], one["kind"]), [])

    def test_a_wrong_field_is_found(self):
        wrong = {"metadata": {"name": 3}, "spec": {"containers": [{"imagee": "x", "command": "sh"}], "hostPID": "yes"}}
        self.assertEqual(mistakes(wrong, "Pod", "Pod"), [
            "Pod.metadata.name is 3, no str", "Pod.spec.containers[0] has no 'imagee'",
            "Pod.spec.containers[0].command is no list", "Pod.spec.hostPID is 'yes', no bool"])

    def test_names_that_must_meet_do(self):
        daemon = self.objects["DaemonSet"]
        self.assertEqual(daemon["spec"]["selector"]["matchLabels"], self.template["metadata"]["labels"])
        namespace = self.objects["Namespace"]["metadata"]["name"]
        for kind in ("ConfigMap", "DaemonSet"):
            self.assertEqual(self.objects[kind]["metadata"]["namespace"], namespace)
        for spec in self.pods():
            volumes = {volume["name"] for volume in spec["volumes"]}
            mounted = {mount["name"] for each in spec.get("initContainers", []) + spec["containers"]
                       for mount in each["volumeMounts"]}
            self.assertEqual(volumes, mounted)
        maps = [v["configMap"]["name"] for v in self.spec["volumes"] if "configMap" in v]
        self.assertEqual(maps, [self.objects["ConfigMap"]["metadata"]["name"]])
        paths = lambda spec: {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
        self.assertEqual(paths(self.spec), paths(self.example["spec"]))
        images = {each["image"] for each in self.spec["initContainers"] + self.spec["containers"]}
        version = [line.split("VERSION ")[1].split()[0] for line in (ROOT / "CMakeLists.txt").read_text().splitlines()
                   if line.startswith("project(")][0]
        self.assertEqual(images, {f"xsched-hsa:{version}"})

    def test_the_controller_takes_its_arguments_and_its_configuration(self):
        container, = self.spec["containers"]
        mount = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        options = dict(zip(container["args"][::2], container["args"][1::2]))
        self.assertEqual(set(options), {"--socket", "--config"})
        self.assertEqual(os.path.dirname(options["--socket"]), mount["run"])
        folder, name = os.path.split(options["--config"])
        self.assertEqual(folder, mount["config"])
        with tempfile.TemporaryDirectory() as place:
            for key, text in self.objects["ConfigMap"]["data"].items():
                pathlib.Path(place, key).write_text(text)
            done = subprocess.run([BUILD / "bin/xsched-hsad", "--config", f"{place}/{name}", "--check-config"], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(" rules", done.stdout)
        words = subprocess.run([BUILD / "bin/xsched-hsad", "--help"], text=True, stdout=subprocess.PIPE).stdout
        for option in options:
            self.assertIn(option + " ", words)

    def test_its_probe_is_a_command_and_asks_at_the_socket(self):
        container, = self.spec["containers"]
        command = container["readinessProbe"]["exec"]["command"]
        self.assertIn(container["args"][1], command)
        with tempfile.TemporaryDirectory() as place:
            nobody = [f"{place}/none" if word == container["args"][1] else word for word in command[1:]]
            done = subprocess.run([BUILD / "bin" / os.path.basename(command[0]), *nobody], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 3, done.stderr)  # right words, and nobody there
        # The tool gives up after 5 s.
        self.assertGreater(container["readinessProbe"]["timeoutSeconds"], 5)

    def test_the_examples_class_is_its_annotation(self):
        tag, = [e for e in self.example["spec"]["containers"][0]["env"] if e["name"] == "XSCHED_HSA_TAG"]
        path = tag["valueFrom"]["fieldRef"]["fieldPath"]
        key = path.removeprefix("metadata.annotations['").removesuffix("']")
        value = self.example["metadata"]["annotations"][key]
        # It asks for a GPU only, which is best effort to Kubernetes: that rule would be the first to match.
        rules = self.objects["ConfigMap"]["data"]["config.toml"]
        self.assertLess(rules.index(f'tag = "{value}"'), rules.index("besteffort*"))
        document = (ROOT / "docs/kubernetes.md").read_text()
        self.assertIn(path, document)


if __name__ == "__main__":
    sys.exit(unittest.main())
