prepare() { mkdir -p etc/prometheus; }
drift() { sed -i 's/15s/1m/' etc/prometheus/prometheus.yml; }
