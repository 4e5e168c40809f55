# syntax=docker/dockerfile:1
# The three images, one target each: rustcorn, custom-metrics-example, loadtester. Each holds one static binary, certificates and
# time zones, runs as nobody (65532), and needs nothing it could write to.
#   docker build --target rustcorn --tag rustcorn .
#
# Bases are pinned by tag here. For a digest, append it to the tag (tag@sha256:…); docs/kubernetes.md, "Pinning", says how to read it.
ARG RUST=docker.io/library/rust:1.95.0-trixie
ARG RUNTIME=gcr.io/distroless/static-debian13:nonroot

FROM ${RUST} AS chef
# The image's own toolchain, the version of rust-toolchain.toml, which would install its components, too.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    CARGO_TERM_COLOR=never \
    RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo install cargo-chef --locked --version 0.1.78 --target x86_64-unknown-linux-gnu
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# Dependencies: built anew only when they change. The target is named, or crt-static would be asked of build scripts, too.
FROM chef AS dependencies
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --target x86_64-unknown-linux-gnu --package rustcorn --recipe-path recipe.json

FROM dependencies AS build
COPY . .
RUN cargo build --release --locked --target x86_64-unknown-linux-gnu --package rustcorn --bins \
    && install -D --strip target/x86_64-unknown-linux-gnu/release/rustcorn /out/rustcorn \
    && install -D --strip target/x86_64-unknown-linux-gnu/release/custom-metrics-example /out/custom-metrics-example

FROM chef AS loadtester-dependencies
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --target x86_64-unknown-linux-gnu --package rustcorn-loadtester --recipe-path recipe.json

FROM loadtester-dependencies AS loadtester-build
COPY . .
RUN cargo build --release --locked --target x86_64-unknown-linux-gnu --package rustcorn-loadtester --bins \
    && install -D --strip target/x86_64-unknown-linux-gnu/release/rustcorn-loadtester /out/rustcorn-loadtester

FROM ${RUNTIME} AS rustcorn
COPY --from=build /out/rustcorn /rustcorn
COPY k8s/base/app/app.toml /etc/rustcorn/app.toml
USER 65532:65532
EXPOSE 8080 9000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/rustcorn"]
CMD ["/etc/rustcorn/app.toml"]

FROM ${RUNTIME} AS custom-metrics-example
COPY --from=build /out/custom-metrics-example /custom-metrics-example
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/custom-metrics-example"]

FROM ${RUNTIME} AS loadtester
COPY --from=loadtester-build /out/rustcorn-loadtester /rustcorn-loadtester
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/rustcorn-loadtester"]
