# Shutterbridge as a container: one binary, and ffmpeg for the videos that have to be coded anew; user
# 65532, root file system read-only. Written are only /data (the spool: keep it) and /tmp (nothing of worth).
#
#   docker build -t shutterbridge .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     -v shutterbridge-data:/data -v ./site:/etc/shutterbridge:ro \
#     -p 8443:8443 shutterbridge
#
# HL7 and metrics are on the loopback of the container: run the tunnel and the scraper in its network
# namespace.
#
# script/dockerfile-in-chroot runs these steps without a container engine.

FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin shutterbridge \
 && strip target/release/shutterbridge

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Shutterbridge" \
      org.opencontainers.image.description="Clinical photos from phones into the record" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
 && apt-get install -y --no-install-recommends ffmpeg \
 && rm -rf /var/lib/apt/lists/*
# A number, so that an orchestrator can see that it is not root. 0700: the spool is nobody else's.
RUN echo 'shutterbridge:x:65532:65532::/data:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'shutterbridge:x:65532:' >> /etc/group \
 && install -d -m 0700 -o 65532 -g 65532 /data \
 && install -d -m 0755 /etc/shutterbridge
COPY --from=build /build/target/release/shutterbridge /usr/local/bin/shutterbridge
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
# HTTPS for the phones.
EXPOSE 8443
# The process, not readiness: a full spool or a dead archive must not restart a gateway.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9443 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 4 line <&3 && [[ $line == *' 200 '* ]]"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["shutterbridge"]
CMD ["serve", "--config", "/etc/shutterbridge/shutterbridge.toml"]
