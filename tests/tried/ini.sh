prepare() {
    mkdir -p etc/mysql/conf.d
    printf '[mysqld]\nquery_cache_size = 1M\n' >etc/mysql/conf.d/app.cnf
}
drift() {
    sed -i 's/200/20/' etc/mysql/conf.d/app.cnf
    echo 'query_cache_size = 2M' >>etc/mysql/conf.d/app.cnf
}
