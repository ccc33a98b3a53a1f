/** A small, valid FITS image for the quickstart: simulated stars on a noisy sky (FITS standard 4.0, sections 3 and 4). */

const BLOCK = 2880
const CARD = 80

/** A primary HDU of `size` by `size` pixels, BITPIX 16, with a celestial coordinate system; the same bytes for the same seed. */
export function sampleFits(size = 512, seed = 20_260_101): Buffer {
  const header = cards([
    ['SIMPLE', 'T', 'conforms to FITS standard'],
    ['BITPIX', '16', 'signed 16 bit integers'],
    ['NAXIS', '2', ''],
    ['NAXIS1', String(size), ''],
    ['NAXIS2', String(size), ''],
    ['BSCALE', '1.0', ''],
    ['BZERO', '0.0', ''],
    ['BUNIT', "'adu     '", ''],
    ['OBJECT', "'karst sample'", 'simulated stars'],
    ['CTYPE1', "'RA---TAN'", ''],
    ['CTYPE2', "'DEC--TAN'", ''],
    ['CUNIT1', "'deg     '", ''],
    ['CUNIT2', "'deg     '", ''],
    ['CRVAL1', '83.8221', '[deg]'],
    ['CRVAL2', '-5.3911', '[deg]'],
    ['CRPIX1', String(size / 2 + 0.5), ''],
    ['CRPIX2', String(size / 2 + 0.5), ''],
    ['CDELT1', '-0.0002777778', '[deg] one arc second a pixel'],
    ['CDELT2', '0.0002777778', '[deg]'],
    ['ORIGIN', "'karst   '", 'written by the quickstart'],
  ])
  return Buffer.concat([header, padded(pixels(size, seed), 0)])
}

function cards(list: readonly (readonly [string, string, string])[]): Buffer {
  const lines = list.map(([key, value, comment]) => {
    const field = value.startsWith("'") ? value.padEnd(20) : value.padStart(20)
    return `${key.padEnd(8)}= ${field}${comment === '' ? '' : ` / ${comment}`}`.padEnd(CARD)
  })
  return padded(Buffer.from(lines.join('') + 'END'.padEnd(CARD), 'ascii'), 0x20)
}

function padded(bytes: Buffer, fill: number): Buffer {
  const short = bytes.length % BLOCK
  return short === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(BLOCK - short, fill)])
}

function pixels(size: number, seed: number): Buffer {
  const random = generator(seed)
  const image = new Float32Array(size * size).map(() => 100 + 10 * (random() + random() + random() - 1.5))
  for (let star = 0; star < 80; star++) addStar(image, size, random() * size, random() * size, 50 / (random() + 0.005))
  const bytes = Buffer.alloc(size * size * 2)
  image.forEach((value, index) => bytes.writeInt16BE(Math.min(32_767, Math.round(value)), index * 2))
  return bytes
}

/** A round Gaussian of 2 pixels sigma. */
function addStar(image: Float32Array, size: number, x: number, y: number, flux: number): void {
  for (let row = Math.max(0, Math.floor(y) - 10); row < Math.min(size, y + 10); row++) {
    for (let column = Math.max(0, Math.floor(x) - 10); column < Math.min(size, x + 10); column++) {
      const index = row * size + column
      image[index] = (image[index] ?? 0) + flux * Math.exp(-((column - x) ** 2 + (row - y) ** 2) / 8)
    }
  }
}

/** Linear congruential generator in [0, 1): the same on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
