prepare() { mkdir srv; }
drift() { git -C srv/app -c user.name=Eve -c user.email=eve@example.com commit --quiet --allow-empty -m drift; }
