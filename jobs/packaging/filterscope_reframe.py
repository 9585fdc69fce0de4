"""ReFrame: filterscope as installed. reframe -C SITE.py -c jobs/packaging/filterscope_reframe.py -r"""
import reframe as rfm
import reframe.utility.sanity as sn


class Installed(rfm.RunOnlyRegressionTest):
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    executable = "filterscope"
    num_tasks = 2


@rfm.simple_test
class FilterscopeRanks(Installed):
    descr = "all ranks that the launcher starts see each other"
    executable_opts = ["ranks"]

    @sanity_function
    def all_ranks_are_there(self):
        return sn.assert_found(rf"^ranks: {self.num_tasks} on ", self.stdout)


@rfm.simple_test
class FilterscopeBench(Installed):
    descr = "each phase on random images, and how fast"
    executable_opts = ["bench", "--arch", "vgg6", "--slots", "2", "--seconds", "1"]

    @sanity_function
    def each_phase_has_run(self):
        return sn.all([sn.assert_found(rf"^{phase} ", self.stdout) for phase in ("forward", "train", "probe", "silence")])

    @performance_function("images/s")
    def forward(self):
        return sn.extractsingle(r"^forward +([\d.]+) images/s", self.stdout, 1, float)

    @performance_function("images/s")
    def train(self):
        return sn.extractsingle(r"^train +([\d.]+) images/s", self.stdout, 1, float)
