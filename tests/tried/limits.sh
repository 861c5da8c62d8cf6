prepare() { mkdir etc; }
drift() { sed -i 's/65536/1024/' etc/security/limits.d/web.conf; }
