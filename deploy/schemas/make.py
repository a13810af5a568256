"""Makes the schemas of this folder: python3 make.py WHEEL JAR

WHEEL is kubernetes-validate 1.37.0 of PyPI (Apache-2.0), which has JSON Schemas of Kubernetes' API; JAR is
org.apache.flink:flink-kubernetes-operator-api:1.10.0 of Maven Central (Apache-2.0), which has the operator's custom resource definition.
Only what deploy/ uses is kept, without descriptions, and no field that a schema does not name is allowed.
"""
import json
import sys
import zipfile

import yaml

KUBERNETES = "1.33"
ROOTS = {"Deployment": "apps.v1", "StatefulSet": "apps.v1", "Job": "batch.v1", "Service": "core.v1", "ConfigMap": "core.v1",
         "PersistentVolumeClaim": "core.v1", "ServiceAccount": "core.v1", "NetworkPolicy": "networking.v1", "Role": "rbac.v1",
         "RoleBinding": "rbac.v1", "Pod": "core.v1"}


def bare(v, named=False):
    """v without descriptions and extensions; named: its keys are names of fields."""
    if isinstance(v, dict):
        return {k: bare(x, k == "properties" and not named) for k, x in v.items()
                if named or k != "description" and not k.startswith("x-kubernetes") and k != "$schema"}
    return [bare(x) for x in v] if isinstance(v, list) else v


def refs(v):
    if isinstance(v, dict):
        for k, x in v.items():
            yield from [x] if k == "$ref" and isinstance(x, str) else refs(x)
    elif isinstance(v, list):
        for x in v:
            yield from refs(x)


def renamed(v):
    if isinstance(v, dict):
        return {k: "#/$defs/" + x.rsplit("/", 1)[1] if k == "$ref" and isinstance(x, str) else renamed(x) for k, x in v.items()}
    return [renamed(x) for x in v] if isinstance(v, list) else v


def strict(v):
    """A structural schema whose objects have no fields but those that it names."""
    if isinstance(v, dict):
        v = {k: strict(x) for k, x in v.items()}
        if v.get("type") == "object" and "properties" in v:
            v.setdefault("additionalProperties", False)
        return v
    return [strict(x) for x in v] if isinstance(v, list) else v


def main(wheel, jar):
    folder = f"kubernetes_validate/kubernetes-json-schema/v{KUBERNETES}.0-local-strict/_definitions.json"
    all_ = json.loads(zipfile.ZipFile(wheel).read(folder))
    all_ = all_["$defs"]
    defs, kinds, todo = {}, {}, []
    for kind, where in ROOTS.items():
        name = next(n for n in all_ if n.endswith(f".{where}.{kind}"))
        kinds[kind] = name
        todo.append(name)
    while todo:
        name = todo.pop()
        if name in defs:
            continue
        defs[name] = renamed(bare(all_[name]))
        todo += [r.rsplit("/", 1)[1] for r in refs(all_[name])]
    crd = yaml.safe_load(zipfile.ZipFile(jar).read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"))
    version = next(v for v in crd["spec"]["versions"] if v["name"] == "v1beta1")
    flink = strict(bare(version["schema"]["openAPIV3Schema"]))
    flink["properties"].pop("status", None)
    pod = {"$ref": "#/$defs/" + kinds["Pod"]}
    spec = flink["properties"]["spec"]["properties"]
    spec["podTemplate"] = spec["jobManager"]["properties"]["podTemplate"] = spec["taskManager"]["properties"]["podTemplate"] = pod
    group = {"apiVersion": {"const": f"{crd['spec']['group']}/v1beta1"}, "kind": {"const": "FlinkDeployment"}, "metadata": {}}
    flink["properties"].update(group)
    flink["required"] = ["apiVersion", "kind", "metadata", "spec"]
    defs["flink.v1beta1.FlinkDeployment"] = flink
    kinds["FlinkDeployment"] = "flink.v1beta1.FlinkDeployment"
    out = {"$comment": f"Kubernetes {KUBERNETES} and the Flink operator 1.10.0; Apache-2.0; made by make.py", "kinds": kinds,
           "$defs": dict(sorted(defs.items()))}
    with open("schemas.json", "w") as f:
        # a definition a line, so that a new version shows what it changes
        f.write('{"$comment": %s,\n"kinds": %s,\n"$defs": {\n' % (json.dumps(out["$comment"]), json.dumps(kinds)))
        f.write(",\n".join(f"{json.dumps(n)}: {json.dumps(d, separators=(',', ':'))}" for n, d in out["$defs"].items()))
        f.write("\n}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
