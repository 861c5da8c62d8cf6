packages=locales
prepare() { :; }
drift() {
    rm usr/lib/locale/locale-archive
    echo 'LANG=C' >etc/default/locale
}
