prepare() { mkdir opt; }
drift() { rm -r opt/app; }
