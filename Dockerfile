# docker build -t warp .
# docker run -p 127.0.0.1:7400:7400 -p 127.0.0.1:7401:7401 -v warp-data:/data warp
#
# Inside, the server listens on all addresses of the container, or nobody could reach it. It has no access control: publish its
# ports to this machine alone, as above, or to a network that may read and write everything.

FROM oven/bun:1.4.5 AS build
WORKDIR /build
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --production --ignore-scripts
COPY . .
RUN bun scripts/build.ts

# The binary carries its runtime and its certificates; of the system it needs glibc only.
FROM debian:trixie-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin warp \
  && install --directory --owner=warp --group=warp --mode=0700 /data
COPY --from=build --chmod=0755 /build/dist/warp /usr/local/bin/warp
USER 10001:10001
# The default data directory is ./data, which is the volume from here.
WORKDIR /
VOLUME /data
# Clients and peers; HTTP.
EXPOSE 7400 7401
ENTRYPOINT ["/usr/local/bin/warp"]
CMD ["serve", "--listen", "0.0.0.0:7400", "--http", "0.0.0.0:7401"]
