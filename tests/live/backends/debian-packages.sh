# Packages of another Debian than the host's, in a folder, without installing anything: `. debian-packages.sh`.

mirror() { # the one that the host's apt uses
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v "codename=$(. /etc/os-release && echo "$VERSION_CODENAME")" '$2 == codename && $3 == "main" { print $1; exit }'
}

unpacked() { # unpacked SUITE FOLDER PACKAGE...: these and all that they need, in FOLDER/tree
  local suite=$1 apt=$2 package
  shift 2
  mkdir -p "$apt"/{lists,archives}/partial "$apt/no-other-sources" "$apt/tree"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $suite main" >"$apt/sources.list"
  local options=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts="$apt/no-other-sources"
    -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o Acquire::Languages=none
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success= -o APT::Keep-Downloaded-Packages=true)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
  for package in "$apt"/archives/*.deb; do
    dpkg-deb -x "$package" "$apt/tree"
  done
}

is_program() { [ "$(head -c 4 "$1" | tr -d '\0')" = $'\x7fELF' ]; }

use_libraries_of() { # use_libraries_of TREE FILE...: programs and libraries use those in TREE, and its loader
  local libraries=$1/usr/lib/x86_64-linux-gnu file
  for file in "${@:2}"; do
    is_program "$file" || continue
    patchelf --force-rpath --set-rpath "$libraries:$libraries/slurm-wlm:$1/usr/lib" "$file"
    ! patchelf --print-interpreter "$file" >/dev/null 2>&1 ||
      patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" "$file"
  done
}
