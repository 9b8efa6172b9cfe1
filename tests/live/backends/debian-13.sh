# Programs of Debian 13 on a Debian 12 host, in a folder: nothing of the host is replaced, and nothing is mounted or
# chrooted, so that jobs see the host as it is. The start scripts that need it source it, after common.sh:
# `. debian-13.sh`; then $debian is the folder.
#
# The packages come from the mirror that the host's apt uses. They are unpacked and not installed; the programs are given
# the loader and the libraries of Debian 13, which are beside them.
debian=${GENERIC_WORKER_TEST_DEBIAN_13:-$(dirname "$dir")/debian-13}
libraries=$debian/usr/lib/x86_64-linux-gnu

download() { # download PACKAGE...: these and all that they need, into $debian.new/archives
  local apt=$debian.new mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v "codename=$(. /etc/os-release && echo "$VERSION_CODENAME")" '$2 == codename && $3 == "main" { print $1; exit }')
  mkdir -p "$apt"/{lists,archives}/partial "$apt/no-other-sources"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
  local options=(-qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts="$apt/no-other-sources"
    -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" -o Acquire::Languages=none
    -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success= -o APT::Keep-Downloaded-Packages=true)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
}

is_program() { [ "$(head -c 4 "$1" | tr -d '\0')" = $'\x7fELF' ]; }

use_own_libraries() { # use_own_libraries FILE...
  local file
  for file; do
    is_program "$file" || continue
    patchelf --force-rpath --set-rpath "$libraries:$libraries/slurm-wlm:$debian/usr/lib" "$file"
    ! patchelf --print-interpreter "$file" >/dev/null 2>&1 ||
      patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" "$file"
  done
}

unpack() {
  local package new=$debian.new/tree
  mkdir -p "$new"
  for package in "$debian.new"/archives/*.deb; do
    dpkg-deb -x "$package" "$new"
  done
  for package in slurmctld slurmd slurmstepd; do # an installed package has these links
    ln -s "$package-wlm" "$new/usr/sbin/$package"
  done
  local programs=("$new"/usr/bin/condor_* "$new"/usr/sbin/condor_* "$new"/usr/libexec/condor/condor_*)
  programs+=("$new"/usr/lib/*.so* "$new"/usr/bin/s* "$new"/usr/sbin/{slurm,munge}* "$new"/usr/lib/x86_64-linux-gnu/slurm-wlm/*.so)
  local file files=()
  for file in "${programs[@]}"; do
    [ ! -f "$file" ] || [ -L "$file" ] || files+=("$file")
  done
  use_own_libraries "${files[@]}"
  mv "$new" "$debian"
  rm -rf "$debian.new"
}

if [ "${1:-start}" != stop ] && [ ! -d "$debian" ]; then
  need patchelf
  (
    flock 9 # two start scripts may come here at once
    [ -d "$debian" ] || {
      rm -rf "$debian.new"
      download condor slurmctld slurmd slurm-client slurmdbd slurm-wlm-basic-plugins munge
      unpack
    }
  ) 9>"$debian.lock"
fi
