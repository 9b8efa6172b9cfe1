# Programs of Debian 13 on a Debian 12 host, in a folder: nothing of the host is replaced, and nothing is mounted or
# chrooted, so that jobs see the host as it is. The start scripts that need it source it, after common.sh:
# `. debian-13.sh`; then $debian is the folder, and $libraries that of its libraries.
#
# The packages are unpacked and not installed; the programs are given the loader and the libraries of Debian 13, which are
# beside them.
. "$(dirname "${BASH_SOURCE[0]}")/debian-packages.sh"
debian=${GENERIC_WORKER_TEST_DEBIAN_13:-$(dirname "$dir")/debian-13}
libraries=$debian/usr/lib/x86_64-linux-gnu

unpack() {
  local package new=$debian.new/tree
  for package in slurmctld slurmd slurmstepd; do # an installed package has these links
    ln -s "$package-wlm" "$new/usr/sbin/$package"
  done
  local programs=("$new"/usr/bin/condor_* "$new"/usr/sbin/condor_* "$new"/usr/libexec/condor/condor_*)
  programs+=("$new"/usr/lib/*.so* "$new"/usr/bin/s* "$new"/usr/sbin/{slurm,munge}* "$new"/usr/lib/x86_64-linux-gnu/slurm-wlm/*.so)
  local file files=()
  for file in "${programs[@]}"; do
    [ ! -f "$file" ] || [ -L "$file" ] || files+=("$file")
  done
  use_libraries_of "$debian" "${files[@]}"
  mv "$new" "$debian"
  rm -rf "$debian.new"
}

if [ "${1:-start}" != stop ] && [ ! -d "$debian" ]; then
  need patchelf
  (
    flock 9 # two start scripts may come here at once
    [ -d "$debian" ] || {
      rm -rf "$debian.new"
      unpacked trixie "$debian.new" condor slurmctld slurmd slurm-client slurmdbd slurm-wlm-basic-plugins munge kubectl awscli
      unpack
    }
  ) 9>"$debian.lock"
fi
