prepare() { :; }
drift() { echo somebody-elses >proc/sys/kernel/hostname; }
