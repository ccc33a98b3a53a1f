import { spawn } from 'node:child_process'
import fs from 'node:fs'
import t from 'tap'
import { setBlocking } from '../../src/libc/descriptor.ts'
import { ERRNO, errnoName, errnoNumber, isErrnoName } from '../../src/libc/errno.ts'
import { declare, declareCall, hasFunction, LibcError } from '../../src/libc/ffi.ts'
import { needs } from '../parts.ts'
import { closeDescriptor, receiveDescriptor, socketPair } from '../../src/libc/socket.ts'

t.test('it knows error numbers by name and names by number', async (t) => {
  t.equal(ERRNO.EDQUOT, 122)
  t.equal(errnoName(11), 'EAGAIN', 'not EWOULDBLOCK')
  t.equal(errnoName(95), 'EOPNOTSUPP', 'not ENOTSUP')
  t.equal(errnoName(4000), undefined)
  t.equal(errnoNumber('ENOTEMPTY'), 39)
  t.equal(errnoNumber('constructor'), ERRNO.EIO)
  t.equal(isErrnoName('toString'), false)
})

t.test('it answers a refusal as a negative number, or throws it', async (t) => {
  const parameters = ['const char *', 'int'] as const
  t.equal(declareCall('access', 'int', parameters)('/proc/none', 0), -ERRNO.ENOENT)
  t.equal(declareCall('access', 'int', parameters)('/', 0), 0)
  t.throws(() => declare('access', 'int', parameters)('/proc/none', 0), new LibcError('access', ERRNO.ENOENT))
  t.match(new LibcError('access', 2), { code: 'ENOENT', errno: 2, syscall: 'access' })
  t.equal(hasFunction('renameat2'), true)
  t.equal(hasFunction('no_such_function'), false)
})

/** sendmsg(2) by the numbers of x86-64; arm64 has 211. perl-base is in every Debian. */
const SENDER = `open(my $file, '<', $ARGV[0]) or die;
  my $control = pack('QiiiI', 20, 1, 1, fileno($file), 0); my $data = 'x';
  my $vector = pack('PQ', $data, 1); my $message = pack('QQPQPQQ', 0, 0, $vector, 1, $control, 24, 0);
  exit(syscall($ARGV[1], 3, $message, 0) == 1 ? 0 : 1)`
const SENDMSG = process.arch === 'arm64' ? '211' : '46'
const skip = needs('perl')

t.test('it receives an open file from another program', { skip }, async (t) => {
  const [ours, theirs] = socketPair()
  t.equal(receiveDescriptor(ours), undefined, 'nothing waits yet')
  const child = spawn('perl', ['-e', SENDER, import.meta.filename, SENDMSG], {
    stdio: ['ignore', 'inherit', 'inherit', theirs],
  })
  t.equal(await new Promise((resolve) => child.once('close', resolve)), 0)
  const fd = receiveDescriptor(ours)
  t.type(fd, 'number')
  t.equal(fs.readFileSync(fd ?? -1, 'utf8'), fs.readFileSync(import.meta.filename, 'utf8'))
  t.match(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s*02\d{6}/, 'closed on exec')
  closeDescriptor(fd ?? -1)
  closeDescriptor(theirs)
  t.equal(receiveDescriptor(ours), undefined, 'the other end is gone')
  closeDescriptor(ours)
  t.throws(() => receiveDescriptor(ours), { code: 'EBADF' })
  t.throws(() => closeDescriptor(ours), { code: 'EBADF' })
})

t.test('it takes a message without a descriptor for none', async (t) => {
  const [ours, theirs] = socketPair()
  fs.writeSync(theirs, 'x')
  t.equal(receiveDescriptor(ours), undefined)
  closeDescriptor(ours)
  closeDescriptor(theirs)
})

t.test('it makes a descriptor wait or not', async (t) => {
  const [ours, theirs] = socketPair()
  setBlocking(ours, false)
  t.throws(() => fs.readSync(ours, Buffer.alloc(1)), { code: 'EAGAIN' })
  setBlocking(ours, true)
  fs.writeSync(theirs, 'x')
  t.equal(fs.readSync(ours, Buffer.alloc(1)), 1)
  closeDescriptor(ours)
  closeDescriptor(theirs)
  t.throws(() => setBlocking(ours, true), { code: 'EBADF' })
})
