#!/bin/sh
# build.sh OUT: compiles seats.bpf.c to OUT, the bare instructions (no paths, dates or symbols).
# CI runs it with clang 14 (Debian 12) and compares OUT with the committed seats.bpf.bin.
set -eu
out=$(realpath "$1")
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
"${CLANG:-clang}" -O2 -Wall -Wextra -Werror -Wno-unused-const-variable -target bpfel -mcpu=v3 -ffreestanding -c seats.bpf.c -o "$object"
# Other code or data sections would need relocation, which the loader does not do.
if "${LLVM_READELF:-llvm-readelf}" -S "$object" | grep -E '\.(rel[a. ]|rodata|data|bss|maps)' >&2; then
    echo "build.sh: the program must be one section without relocations" >&2
    exit 1
fi
"${LLVM_OBJCOPY:-llvm-objcopy}" -O binary --only-section=sk_reuseport/migrate "$object" "$out"
