#!/bin/sh
# Builds ./caller.jar from the stubs in gen/ with Debian's Java packages, without a network.
set -eu
cd "$(dirname "$0")"
jars=
for name in protobuf protobuf-util grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub \
    netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-codec-socks netty-common netty-handler \
    netty-handler-proxy netty-resolver netty-tcnative netty-transport netty-transport-native-unix-common perfmark-api \
    guava proto-google-common-protos geronimo-annotation-1.3-spec; do
    jars="$jars /usr/share/java/$name.jar"
done
rm -rf build
mkdir build
# Of the stubs, those that are used. They come before the libraries: Debian's error details are too old for ErrorInfo.
javac --release 17 -proc:none -Xprefer:source -d build/classes -sourcepath gen -cp "$(echo $jars | tr ' ' ':')" \
    src/cogreel/example/*.java
{
    echo "Class-Path: "
    for jar in $jars; do echo "  file:$jar"; done
} > build/manifest
# For TLS, under the name that Netty looks for, which is not Debian's.
cp /usr/lib/*/jni/libnetty-tcnative.so build/libnetty_tcnative.so
jar --create --file caller.jar --manifest build/manifest --main-class cogreel.example.Main -C build/classes .
