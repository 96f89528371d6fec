#!/bin/sh
# Builds Prometheus 3 (module version v0.305.1) into the cache, for the tests of
# remote-write 2.0. It takes some minutes, once. Its web page is not built in.
set -eu
version=0.305.1
dir=${XDG_CACHE_HOME:-$HOME/.cache}/noether/prometheus-$version
[ -x "$dir/prometheus" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init prometheus3 2>/dev/null
go get -tool "github.com/prometheus/prometheus/cmd/prometheus@v$version"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o prometheus github.com/prometheus/prometheus/cmd/prometheus
mkdir -p "$dir"
mv prometheus "$dir/prometheus"
echo "built $dir/prometheus"
