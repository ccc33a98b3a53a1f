// Programs that people work with, on mounts of a gateway over a POSIX tree: git, make, npm, python, sqlite, and tables as CASA keeps them.
import t from 'tap'
import { fuseSkip, needs } from '../parts.ts'
import { Homes } from './homes.ts'

const fuse = await fuseSkip()
t.setTimeout(10 * 60_000)

const homes = new Homes()
if (fuse === false) {
  t.before(() => homes.start())
  t.teardown(() => homes.dispose())
}

t.test('make -j builds once, and again what was changed', { skip: fuse || needs('make', 'cc') }, async (t) => {
  const output = await homes.works(
    t,
    `for i in $(seq 8); do echo "#include \\"all.h\\"\nint f$i(void) { return N + $i; }" > f$i.c; done
     { echo '#define N 1'; for i in $(seq 8); do echo "int f$i(void);"; done; } > all.h
     printf '#include <stdio.h>\\n#include "all.h"\\nint main(void) { printf("%%d\\\\n", f1() + f8()); return 0; }\\n' > main.c
     printf 'OBJECTS = $(patsubst %%.c,%%.o,$(wildcard *.c))\\nprogram: $(OBJECTS)\\n\\tcc -o $@ $^\\n%%.o: %%.c all.h\\n\\t@echo compiles $<\\n\\t@cc -c -o $@ $<\\n' > Makefile
     make -s -j4 > $OUT/first; grep -c compiles $OUT/first; $TWO/program; cd $TWO; make -s -j4; make -q
     touch f3.c; make -s -j4; cd $ONE; make -q; sed -i s/1/10/ all.h; make -s -j4 | grep -c compiles; ./program`,
  )
  t.equal(output, '9\n11\ncompiles f3.c\n9\n29\n')
})

t.test('npm packs, installs and runs, without a registry', { skip: fuse || needs('npm') }, async (t) => {
  const output = await homes.works(
    t,
    `mkdir -p dep/lib app; for i in $(seq 9); do echo "module.exports = $i" > dep/lib/m$i.js; done
     echo 'module.exports = require("./lib/m9.js")' > dep/index.js
     printf '#!/usr/bin/env node\\nconsole.log("dep says", require("dep"))\\n' > dep/cli.js
     echo '{"name":"dep","version":"1.2.3","bin":{"dep":"cli.js"}}' > dep/package.json
     echo '{"name":"app","version":"1.0.0","scripts":{"say":"dep"},"dependencies":{"dep":"file:../dep/dep-1.2.3.tgz","beside":"file:../dep"}}' > app/package.json
     npm() { command npm --offline --no-audit --no-fund --loglevel=error "$@"; }
     cd dep; npm pack --silent; cd ../app; npm install > /dev/null; npm run -s say
     cd $TWO/app; npm ci > /dev/null; npm run -s say; readlink node_modules/beside; diff -r $ONE/dep/lib node_modules/dep/lib; test "$(ls $ONE/app/node_modules)" = "$(printf 'beside\\ndep')"`,
  )
  t.equal(output, 'dep-1.2.3.tgz\ndep says 9\ndep says 9\n../../dep\n')
})

/** Makes a wheel, and says where Python keeps its own pip: its 900 files need not be copied to see that an environment works. */
const WHEEL = `import ensurepip, glob, os, zipfile
with zipfile.ZipFile("tool-1.0-py3-none-any.whl", "w") as wheel:
    files = {f"tool/m{i}.py": f"VALUE = {i}" for i in range(6)}
    files["tool/__init__.py"] = "from tool.m5 import VALUE\\ndef main(): print(VALUE)"
    files["tool-1.0.dist-info/METADATA"] = "Metadata-Version: 2.1\\nName: tool\\nVersion: 1.0"
    files["tool-1.0.dist-info/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any"
    files["tool-1.0.dist-info/entry_points.txt"] = "[console_scripts]\\ntool = tool:main"
    files["tool-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in [*files, "tool-1.0.dist-info/RECORD"])
    for name, text in files.items(): wheel.writestr(name, text.rstrip("\\n") + "\\n")
places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), "/usr/share/python-wheels"]
print([found for place in places for found in glob.glob(place + "/pip-*.whl")][0])`

t.test('python makes an environment, and pip installs into it', { skip: fuse || needs('python3-venv') }, async (t) => {
  const output = await homes.works(
    t,
    `pip=$(python3 -c '${WHEEL}'); python3 -m venv --without-pip venv
     PYTHONPATH=$pip venv/bin/python -m pip install -q --no-index --no-cache-dir --disable-pip-version-check --root-user-action=ignore ./tool-1.0-py3-none-any.whl
     venv/bin/tool; $TWO/venv/bin/python -c 'import sys, tool.m3; print(tool.m3.VALUE, sys.prefix != sys.base_prefix)'
     PYTHONPATH=$pip venv/bin/python -m pip uninstall -q -y --root-user-action=ignore tool; test ! -e $TWO/venv/bin/tool; ls $TWO/venv/lib/python3*/site-packages`,
  )
  t.equal(output, '5\n3 True\n')
})

t.test('drivers and gateway had nothing to complain of', { skip: fuse }, async (t) => {
  t.same(await homes.stop(), [])
})
