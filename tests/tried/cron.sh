prepare() { mkdir etc; }
drift() { sed -i 's/^30/45/' etc/cron.d/backup; }
