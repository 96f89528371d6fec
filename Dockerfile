# The image that ships, for docker buildx, podman and buildah. From the root of
# a checkout:
#
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg VERSION="$(git describe --tags --always)" \
#     --build-arg REVISION="$(git rev-parse HEAD)" -t noether:dev .
#
# Without a container engine: go run ./deploy/image/cmd/noether-image. Both lay
# out the same files, and a test holds the last stage to the other's table.

ARG GO_VERSION=1.26

# The compiler runs on the builder's own architecture, whatever it builds for.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG REVISION=unknown
ARG TARGETARCH
RUN go run ./deploy/image/cmd/noether-image -rootfs /out \
      -platform "linux/${TARGETARCH:-$(go env GOARCH)}" -version "$VERSION" -revision "$REVISION"

# The binary, Mozilla's certificate authorities, two users, an empty /tmp and
# the licences; no shell, no package manager.
FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
COPY --from=build /out/ /
WORKDIR /
# Not root. Where more is to be seen, whoever starts it says so: user 0 with
# the capabilities BPF and PERFMON, and no other (docs/install.md).
USER 65532:65532
EXPOSE 9877/tcp
LABEL org.opencontainers.image.title="noether" \
      org.opencontainers.image.description="Measures a machine's energy and divides it exactly among processes, containers, pods and VMs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENTRYPOINT ["/noether"]
# What follows the image's name replaces this, and then says itself where to listen.
CMD ["agent", "--listen", ":9877"]
