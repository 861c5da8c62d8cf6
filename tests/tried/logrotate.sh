prepare() { mkdir etc; }
drift() { sed -i 's/rotate 14/rotate 1/' etc/logrotate.d/app; }
