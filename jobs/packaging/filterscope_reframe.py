"""ReFrame: filterscope as installed. reframe -C SITE.py -c jobs/packaging/filterscope_reframe.py -r"""
import reframe as rfm
import reframe.utility.sanity as sn


@rfm.simple_test
class FilterscopeRanks(rfm.RunOnlyRegressionTest):
    """All ranks that the launcher starts see each other."""
    descr = "ranks see each other"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    executable = "filterscope"
    executable_opts = ["ranks"]
    num_tasks = 2

    @sanity_function
    def all_ranks_are_there(self):
        return sn.assert_found(rf"^ranks: {self.num_tasks} on ", self.stdout)


@rfm.simple_test
class FilterscopeBench(rfm.RunOnlyRegressionTest):
    """Each phase on random images, and how fast."""
    descr = "phases on random images"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    executable = "filterscope"
    executable_opts = ["bench", "--arch", "vgg6", "--slots", "2", "--seconds", "1"]
    num_tasks = 2

    @sanity_function
    def both_phases_have_run(self):
        return sn.all([sn.assert_found(r"^forward ", self.stdout), sn.assert_found(r"^train ", self.stdout)])

    @performance_function("images/s")
    def forward(self):
        return sn.extractsingle(r"^forward +([\d.]+) images/s", self.stdout, 1, float)

    @performance_function("images/s")
    def train(self):
        return sn.extractsingle(r"^train +([\d.]+) images/s", self.stdout, 1, float)
