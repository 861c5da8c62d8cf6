prepare() {
    mkdir -p etc/docker
    echo '{ "insecure-registries": ["registry.local"] }' >etc/docker/daemon.json
}
drift() { sed -i 's/10m/1m/' etc/docker/daemon.json; }
