"""filterscope for Spack: in a repository of packages, as packages/filterscope/package.py (README.md)."""
from spack.package import *


class Filterscope(MesonPackage):
    """Shows how a trained convolutional network works, filter by filter: an MPI batch job that trains a network, probes its layers,
    silences and knocks out their filters, and gathers the results into one parallel HDF5 file."""

    homepage = "https://arxiv.org/abs/2305.18078"
    git = "https://example.org/filterscope.git"  # where your clone came from

    license("BSD-3-Clause")

    version("main", branch="main")

    variant("blas", default="openblas", values=("openblas", "blis", "mkl", "cblas"), multi=False, description="whose kernels are known")

    depends_on("c", type="build")
    depends_on("meson@1:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10:+mpi")
    depends_on("zlib-api")
    depends_on("openblas threads=none", when="blas=openblas")
    depends_on("blis+cblas", when="blas=blis")
    depends_on("intel-oneapi-mkl", when="blas=mkl")
    depends_on("blas", when="blas=cblas")
    depends_on("python@3.9:", type="run")
    depends_on("py-h5py", type="run")
    depends_on("py-pandas", type="run")
    depends_on("py-matplotlib", type="run")

    def meson_args(self):
        return ["-Dmpi=mpicc", f"-Dblas={self.spec.variants['blas'].value}"]

    def setup_build_environment(self, env):
        env.set("MPICC", self.spec["mpi"].mpicc)

    def setup_run_environment(self, env):
        env.set("FILTERSCOPE_HOME", self.prefix.share.filterscope)

    def test_version(self):
        """it starts, and names its libraries"""
        out = Executable(self.prefix.bin.filterscope)("--version", output=str.split, error=str.split)
        assert str(self.spec["hdf5"].version) in out

    def test_phases(self):
        """each phase on random images, on one rank"""
        Executable(self.prefix.bin.filterscope)("bench", "--arch", "vgg6", "--batch", "8", "--images", "16", "--seconds", "0.1")
