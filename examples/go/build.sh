#!/bin/sh
# Builds ./caller with Debian's Go packages, without modules and without a network.
set -eu
cd "$(dirname "$0")"
# Without modules, an import path is a folder below one in GOPATH.
gopath=$(mktemp -d)
trap 'rm -rf "$gopath"' EXIT
mkdir -p "$gopath/src/cogreel.example"
ln -s "$PWD" "$gopath/src/cogreel.example/caller"
GO111MODULE=off GOFLAGS= GOPATH="$gopath:/usr/share/gocode" go build -trimpath -o caller cogreel.example/caller
