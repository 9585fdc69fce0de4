"""A second implementation, in NumPy, of the random numbers, the order of images and the augmentation: random.h and dataset.h."""
import numpy as np

WEIGHTS, SHUFFLE, AUGMENT, PROBE = 1, 2, 3, 4


def random4(seed, purpose, a, b, counter):
    """uint32 [4, ...] for arrays or numbers a, b, counter: Philox4x32-10 (Salmon et al., SC'11)."""
    words = [np.asarray(word, np.uint64) for word in np.broadcast_arrays(counter, b, a, purpose)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = [second >> np.uint64(32) ^ words[1] ^ np.uint64(key[0]), second & low,
                 first >> np.uint64(32) ^ words[3] ^ np.uint64(key[1]), first & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(words).astype(np.uint32)


def uniform(seed, purpose, a, bound, count):
    words = random4(seed, purpose, a, 0, np.arange((count + 3) // 4)).T.reshape(-1)[:count]
    return np.float32(bound) * (np.float32(2) * (words >> 8).astype(np.float32) * np.float32(2.0 ** -24) - np.float32(1))


def order(seed, epoch, count):
    words = random4(seed, SHUFFLE, epoch, 0, np.arange(count)).astype(np.uint64)
    wide, result = words[0] << np.uint64(32) | words[1], np.arange(count)
    for i in range(count - 1, 0, -1):
        j = int(wide[i]) % (i + 1)
        result[i], result[j] = result[j], result[i]
    return result


def augment(x, images, seed, epoch):
    """x float32 [n, height, width, channels], scaled already; images [n] are their numbers in the training set."""
    words = random4(seed, AUGMENT, epoch, images, 0)
    result = np.zeros_like(x)
    height, width = x.shape[1:3]
    for n, (flip, right, down) in enumerate(zip(words[0] & 1, words[1] % 9, words[2] % 9)):
        right, down = int(right) - 4, int(down) - 4
        image = x[n, :, ::-1] if flip else x[n]
        result[n, max(down, 0):height + min(down, 0), max(right, 0):width + min(right, 0)] = \
            image[max(-down, 0):height + min(-down, 0), max(-right, 0):width + min(-right, 0)]
    return result
