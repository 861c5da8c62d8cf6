# A list of modules in the place of the kernel's, and a `modprobe` that writes to it.
prepare() {
    echo 'firewire_core 1 0 - Live 0x0' >srv/modules
    # A kernel without modules has no such list.
    if [ -e proc/modules ]; then mount --bind srv/modules proc/modules; else mount -t tmpfs tmpfs proc && cp srv/modules proc/; fi
    cat >usr/local/sbin/modprobe <<'END'
#!/bin/sh
if [ "$1" = --remove ]; then
    left=$(grep -v "^$2 " /proc/modules)
    echo "$left" >/proc/modules
else
    echo "$1 1 0 - Live 0x0" >>/proc/modules
fi
END
    chmod 0755 usr/local/sbin/modprobe
}
cleanup() { umount proc/modules || umount proc; }
drift() { echo 'firewire_core 1 0 - Live 0x0' >proc/modules; }
