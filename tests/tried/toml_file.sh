prepare() { mkdir -p etc/containerd; }
drift() { sed -i 's/"runc"/"crun"/' etc/containerd/config.toml; }
