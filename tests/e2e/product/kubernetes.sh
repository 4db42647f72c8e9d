#!/usr/bin/env bash
# The Kubernetes manifests pass yamllint, match the API schemas of two Kubernetes versions, and have no privileged
# container. All commands and options in the start script exist.
. "$(dirname "$0")/../lib.sh"
PY=$(python_with kubernetes-validate==1.37.0 yamllint==1.37.1 2>"$TMP/pip.log") || skip "kubernetes-validate and yamllint cannot be installed"
FOLDER=$ROOT/packaging/kubernetes
"$PY" -m yamllint -s -c "$FOLDER/yamllint.yaml" "$FOLDER/cmxsafe-gateway.yaml" || fail "yamllint"
validate() { "$(dirname "$PY")/kubernetes-validate" --strict -k "$1" "$2" >"$TMP/validate" 2>&1; }
for version in 1.31 1.33; do validate $version "$FOLDER/cmxsafe-gateway.yaml" || fail "Kubernetes $version: $(cat "$TMP/validate")"; done
sed 's/terminationGracePeriodSeconds/terminationGrace/' "$FOLDER/cmxsafe-gateway.yaml" >"$TMP/broken.yaml"
! validate 1.33 "$TMP/broken.yaml" || fail "an unknown field passes: the check checks nothing"
"$PY" - "$FOLDER/cmxsafe-gateway.yaml" >"$TMP/start.sh" <<'PY' || fail "the manifests are not as docs/SCALING.md says"
import sys, yaml
documents = list(yaml.safe_load_all(open(sys.argv[1])))
pod = next(d for d in documents if d["kind"] == "StatefulSet")["spec"]["template"]["spec"]
assert not pod.get("hostNetwork") and not pod.get("hostPID") and pod["automountServiceAccountToken"] is False
for c in pod["containers"]:
    security = c["securityContext"]
    assert security["privileged"] is False and security["capabilities"]["drop"] == ["ALL"]
print(next(d for d in documents if d["kind"] == "ConfigMap")["data"]["start.sh"])
PY
sh -n "$TMP/start.sh" || fail "start.sh"
grep -o 'cmxsafe gateway [a-z]*.*' "$TMP/start.sh" >"$TMP/commands"
[ "$(wc -l <"$TMP/commands")" -ge 4 ] || fail "start.sh has no commands"
while read -r _ _ command rest; do
    "$BIN/cmxsafe" gateway "$command" --help >"$TMP/help" || fail "no command $command"
    for option in $(grep -o -- '--[a-z-]*' <<<"$rest"); do grep -q -- "$option" "$TMP/help" || fail "$command has no $option"; done
done <"$TMP/commands"
ok "the manifests are valid, unprivileged, and use commands that exist"
