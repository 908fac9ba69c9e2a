#!/usr/bin/env bash
# What kubectl's own test-cmd.sh does around its functions, for an API server that is there already.
# kubectl_functions.sh SOURCE FUNCTION...: SECURE_API_PORT says where the server is, and the folder TMPDIR has its
# certificate. Each function ends with a line "outcome FUNCTION ", and a 1 if it failed.
set -o errexit -o nounset -o pipefail
cd "$1"; shift
source hack/lib/init.sh
source hack/lib/test.sh
mkdir -p "${THIS_PLATFORM_BIN}" && ln -sf "$(command -v kubectl)" "${THIS_PLATFORM_BIN}/kubectl"
source test/cmd/legacy-script.sh
chmod -R +x test/fixtures/pkg/kubectl/plugins # A module keeps no modes.
kube::util::ensure-temp-dir
kube::util::trap_add 'rm -rf "${KUBE_TEMP}"' EXIT
export HOME=${KUBE_TEMP} KUBE_JUNIT_REPORT_DIR=${KUBE_TEMP}/reports
kube::util::ensure-gnu-sed
CONTEXT="test"
kubectl config set-credentials test-admin --token admin-token
kubectl config set-cluster local --insecure-skip-tls-verify --server "https://127.0.0.1:${SECURE_API_PORT}"
kubectl config set-context "${CONTEXT}" --user test-admin --cluster local
kubectl config use-context "${CONTEXT}"
kubectl create clusterrolebinding everybody --clusterrole cluster-admin --group system:authenticated
kubectl create -f - <<< '{"apiVersion":"v1","kind":"Node","metadata":{"name":"127.0.0.1"},"status":{"capacity":{"memory":"1Gi"}}}'
run_nothing_tests() { :; }
export SUPPORTED_RESOURCES=("*") ALLOW_SKEW=1 WHAT=nothing # What the functions refer to is set when they are run.
runTests
for function in "$@"; do
  foundError=
  record_command "${function}"
  echo "outcome ${function} ${foundError:+1}"
done
