prepare() { mkdir -p usr/local/bin; }
drift() { echo other >usr/local/bin/tool; }
